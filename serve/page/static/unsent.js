// Text that was typed and not sent yet: it survives a reload of its tab, and ends with the tab.
const unsent = {
  read(name) {
    try {
      return sessionStorage.getItem("redraft-unsent-" + name) || "";
    } catch {
      return ""; // storage may be forbidden; then a reload loses what was typed
    }
  },
  keep(name, text) {
    try {
      if (text.trim()) sessionStorage.setItem("redraft-unsent-" + name, text);
      else sessionStorage.removeItem("redraft-unsent-" + name);
    } catch {}
  },
};
