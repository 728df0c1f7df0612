// Shortcuts: single keys outside of fields, listed under "?". They can be switched off there, as
// who dictates or has a tremor may hit them unmeant.
const SHORTCUTS = [
  [["Enter"], "key_send"],
  [["Shift", "Enter"], "key_line"],
  [["↑"], "key_edit_last"],
  [["Esc"], "key_escape"],
  [["m"], "to_message"],
  [["n"], "new_chat"],
  [["/"], "search_conversations"],
  [["u"], "good_answer"],
  [["d"], "bad_answer"],
  [["e"], "improve_title"],
  [["r"], "answer_again"],
  [["c"], "copy"],
  [["["], "previous_answer"],
  [["]"], "next_answer"],
  [["←", "=", "x", "→"], "key_verdict"],
  [["?"], "shortcuts"],
];

function makeKeys(element, composer) {
  const dialog = element.querySelector(".shortcuts");
  const help = listShortcuts(dialog, SHORTCUTS);
  const newest = (selector) => element.querySelector(`.answer.newest ${selector}`);
  const verdict = (place) => {
    const buttons = element.querySelectorAll(".verdicts button");
    return buttons.length === 4 ? buttons[place] : null;
  };
  const fresh = () => document.querySelector("#sidebar .fresh");
  const buttonOf = {
    n: fresh,
    u: () => newest('[data-act="rate"][data-value="1"]:not([data-part])'),
    d: () => newest('[data-act="rate"][data-value="-1"]:not([data-part])'),
    e: () => newest('[data-act="improve"]'),
    r: () => newest('[data-act="regenerate"][data-drafts="1"]'),
    c: () => newest('[data-act="copy"]'),
    "[": () => newest(".places button:first-child"),
    "]": () => newest(".places button:last-child"),
    ArrowLeft: () => verdict(0),
    "=": () => verdict(1),
    x: () => verdict(2),
    ArrowRight: () => verdict(3),
  };

  function press(event) {
    if (event.key === "m") return composer.focus(), true;
    if (event.key === "/") {
      document.documentElement.classList.add("drawer");
      return document.querySelector("#sidebar .find input").focus(), true;
    }
    if (event.key === "?") return help(), true;
    const button = buttonOf[event.key] && buttonOf[event.key]();
    if (!button || button.disabled) return false;
    button.click();
    return true;
  }

  document.addEventListener("keydown", (event) => {
    const busy = event.ctrlKey || event.metaKey || event.altKey || event.isComposing;
    if (busy || dialog.open || event.target.closest("textarea, input, details[open]")) return;
    if (!keysAreOff() && press(event)) event.preventDefault();
  });
  return { help, close: () => dialog.close() };
}
