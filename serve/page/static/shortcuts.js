// The dialog that lists a page's shortcuts, with the switch that turns single keys off on all pages.
const OFF = "redraft-keys-off";
const keysAreOff = () => Boolean(localStorage.getItem(OFF));

// `shortcuts` is a list of [keys, key of the words]; returns what opens the dialog.
function listShortcuts(dialog, shortcuts) {
  dialog.querySelector("input").addEventListener("change", (event) => {
    if (event.target.checked) localStorage.removeItem(OFF);
    else localStorage.setItem(OFF, "1");
  });
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
  return () => {
    const rows = shortcuts.map(([keys, what]) => {
      const row = document.createElement("div");
      const names = document.createElement("dt");
      for (const key of keys) names.append(Object.assign(document.createElement("kbd"), { textContent: key }));
      row.append(names, Object.assign(document.createElement("dd"), { textContent: t(what) }));
      return row;
    });
    dialog.querySelector("dl").replaceChildren(...rows);
    dialog.querySelector("input").checked = !keysAreOff();
    dialog.showModal();
  };
}
