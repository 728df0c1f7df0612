// The text that is to be taught in place of what the user said: with a diff while it is written,
// the browser's own until the server has taken it; a reload of the tab finds it again.
function makeFix(desk, { save, toggled }) {
  const nameOf = (row) => "fix-" + row;
  let editor = null;

  function open(row, text, focus = true) {
    if (editor) return void editor.querySelector("textarea").focus();
    editor = document.createElement("form");
    editor.className = "fix";
    editor.dataset.keep = "";
    editor.innerHTML =
      `<h3>${t("fix_label")}</h3>` +
      `<textarea rows="2" aria-label="${t("fix_label")}" dir="auto" maxlength="100000"></textarea>` +
      `<section class="diff" aria-label="${t("your_changes")}" hidden><p dir="auto"></p></section>` +
      `<div><span class="hint">${t("fix_hint")}</span>` +
      `<button type="button" data-act="cancel">${t("cancel")}</button>` +
      `<button type="submit" class="primary">${t("save_fix")}</button></div>`;
    const field = editor.querySelector("textarea");
    const diff = editor.querySelector(".diff"); // `editor` may be closed before the timer ends
    field.value = unsent.read(nameOf(row)) || text;
    const fit = () => {
      field.style.height = "auto";
      field.style.height = field.scrollHeight + 2 + "px";
    };
    let later = 0;
    const compare = (wait) => {
      clearTimeout(later); // a long text takes a moment: not at each key
      later = setTimeout(() => showDiff(diff, text, field.value), wait);
    };
    field.addEventListener("input", () => {
      fit();
      unsent.keep(nameOf(row), field.value === text ? "" : field.value);
      compare(150);
    });
    field.addEventListener("keydown", (event) => {
      if (event.isComposing || event.keyCode === 229) return; // an input method is at work
      if (event.key === "Escape") return close(row);
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      editor.requestSubmit();
    });
    editor.addEventListener("submit", (event) => {
      event.preventDefault();
      if (field.value.trim()) save(field.value);
    });
    desk.querySelector(".row").append(editor);
    toggled(true);
    fit();
    if (field.value !== text) showDiff(diff, text, field.value);
    if (focus) field.focus();
    editor.scrollIntoView({ block: "nearest" });
  }

  // Its text is given up with it.
  function close(row) {
    unsent.keep(nameOf(row), "");
    if (!editor) return;
    editor.remove();
    editor = null;
    toggled(false);
    desk.querySelector(".row").focus();
  }

  return {
    open,
    close,
    // Another row is shown: what was typed for it before a reload is there again.
    restore(row, text) {
      editor = null;
      toggled(false);
      if (row && unsent.read(nameOf(row))) open(row, text, false);
    },
  };
}
