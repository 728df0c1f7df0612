// Shortcuts of the reviewers' page: single keys outside of fields, listed under "?". The switch is
// the same as on the chat page.
const SHORTCUTS = [
  [["k"], "keep_title"],
  [["f"], "fix_title"],
  [["d"], "drop_title"],
  [["s"], "later_title"],
  [["u"], "undo_last"],
  [["Ctrl", "Enter"], "save_fix"],
  [["Esc"], "cancel"],
  [["?"], "shortcuts"],
];
const ACTS = { k: "keep", f: "fix", d: "drop", s: "skip", u: "undo", "?": "help" };

function makeReviewKeys(element) {
  const dialog = element.querySelector(".shortcuts");
  const help = listShortcuts(dialog, SHORTCUTS);

  function press(key) {
    const button = key in ACTS && element.querySelector(`[data-act="${ACTS[key]}"]`);
    if (!button || button.disabled || button.hidden || button.closest("[hidden]")) return false;
    button.click();
    return true;
  }

  document.addEventListener("keydown", (event) => {
    const busy = event.ctrlKey || event.metaKey || event.altKey || event.isComposing || event.repeat;
    if (busy || dialog.open || event.target.closest("textarea, input")) return;
    if (!keysAreOff() && press(event.key)) event.preventDefault();
  });
  return { help, close: () => dialog.close() };
}
