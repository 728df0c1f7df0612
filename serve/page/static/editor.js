// Editing in place: an answer as it should be, a question as it was meant. The text is the
// browser's own until the server has taken it; a reload of the tab finds it again.
const EDITORS = {
  improve: {
    place: ".answer[data-completion]",
    target: (place) => ({ completion: place.dataset.completion }),
    event: "correct",
    label: "as_it_should_be",
    hint: "improve_hint",
    save: "save_correction",
    limit: 100000,
    diff: true,
  },
  edit: {
    place: ".ask[data-question]",
    target: (place) => ({ turn: place.dataset.question }),
    event: "resend",
    label: "the_question",
    hint: "edit_hint",
    save: "send",
    limit: 100000,
    enterSaves: true,
  },
  reword: {
    place: ".understood[data-turn]",
    target: (place) => ({ turn: place.dataset.turn }),
    event: "understand",
    label: "as_meant",
    hint: null,
    save: "save",
    limit: 20000,
    enterSaves: true,
  },
};

function makeEditors(thread, tell) {
  const kindOf = (editor) => EDITORS[editor.dataset.kind];
  const placeOf = (editor) => editor.closest("[data-open]");
  const nameOf = (kind, place) => kind + "-" + Object.values(EDITORS[kind].target(place))[0];

  function open(kind, place, focus = true) {
    const { label, hint, save, limit, enterSaves, diff } = EDITORS[kind];
    if (place.querySelector(".editor")) return;
    const name = nameOf(kind, place);
    const editor = document.createElement("form");
    editor.className = "editor " + kind;
    editor.dataset.keep = "";
    editor.dataset.kind = kind;
    editor.innerHTML =
      `<textarea rows="1" aria-label="${t(label)}" dir="auto" maxlength="${limit}"></textarea>` +
      `<section class="diff" aria-label="${t("your_changes")}" hidden><p dir="auto"></p></section>` +
      '<p class="note" role="alert" hidden></p>' +
      `<div><span class="hint">${hint ? t(hint) : ""}</span>` +
      `<button type="button" data-act="cancel">${t("cancel")}</button>` +
      `<button type="submit" class="primary">${t(save)}</button></div>`;
    const field = editor.querySelector("textarea");
    field.value = unsent.read(name) || place.dataset.text;
    const fit = () => {
      field.style.height = "auto";
      field.style.height = field.scrollHeight + 2 + "px";
    };
    let later = 0;
    const compare = (wait = 150) => {
      clearTimeout(later);
      const show = () => showDiff(editor.querySelector(".diff"), place.dataset.text, field.value.trim());
      if (diff) later = setTimeout(show, wait); // a long text takes a moment: not at each key
    };
    field.addEventListener("input", () => {
      fit();
      unsent.keep(name, field.value === place.dataset.text ? "" : field.value);
      compare();
    });
    field.addEventListener("keydown", (event) => {
      if (event.isComposing || event.keyCode === 229) return; // an input method is at work
      if (event.key === "Escape") return close(editor);
      const enough = event.ctrlKey || event.metaKey || (enterSaves && !event.shiftKey);
      if (event.key !== "Enter" || !enough) return;
      event.preventDefault();
      editor.requestSubmit();
    });
    editor.addEventListener("submit", (event) => {
      event.preventDefault();
      submit(editor, field.value);
    });
    place.setAttribute("data-open", "");
    place.append(editor);
    fit();
    compare(0);
    if (focus) field.focus();
  }

  function submit(editor, text) {
    const place = placeOf(editor);
    if (editor.dataset.gesture) return;
    if (text.trim() === place.dataset.text.trim()) return close(editor);
    const { target, event } = kindOf(editor);
    const gesture = (editor.dataset.gesture = newGesture());
    tell(event, { ...target(place), text, gesture });
    setTimeout(() => refuse(editor, gesture, t("page_silent_short")), PATIENCE);
  }

  function refuse(editor, gesture, problem) {
    if (editor.dataset.gesture !== gesture) return;
    delete editor.dataset.gesture;
    const line = editor.querySelector(".note");
    line.textContent = t("not_saved_here") + " " + problem;
    line.hidden = false;
  }

  function close(editor) {
    const place = placeOf(editor);
    const { kind } = editor.dataset;
    const focused = editor.contains(document.activeElement);
    unsent.keep(nameOf(kind, place), "");
    place.removeAttribute("data-open");
    editor.remove();
    if (focused) place.querySelector(`[data-act="${kind}"]`).focus();
  }

  return {
    open: (kind, node) => open(kind, node.closest(EDITORS[kind].place)),
    close,
    // Open again what was being typed when the tab was reloaded; the focus stays where it is.
    restore() {
      for (const kind in EDITORS)
        for (const place of thread.querySelectorAll(EDITORS[kind].place))
          if (unsent.read(nameOf(kind, place))) open(kind, place, false);
    },
    // `done`: how gestures ended, in words when badly.
    settle(done) {
      for (const editor of thread.querySelectorAll(".editor")) {
        const { gesture } = editor.dataset;
        if (!gesture || !(gesture in done)) continue;
        if (done[gesture]) refuse(editor, gesture, done[gesture]);
        else close(editor);
      }
    },
  };
}
