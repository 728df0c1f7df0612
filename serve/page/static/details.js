// Why a thumb: chips are written as they are clicked, the comment when it is saved. What the server
// has not confirmed yet is shown as clicked: an older word from it must not undo a newer click.
function makeDetails(thread, tell) {
  const waiting = new Map(); // completion -> { gesture, tags, comment }
  const completionOf = (node) => node.closest("[data-completion]").dataset.completion;
  const fieldName = (completion) => "comment-" + completion;

  function write(why, comment) {
    const completion = completionOf(why);
    const known = waiting.get(completion);
    const said = comment === undefined ? (known ? known.comment : why.dataset.comment) : comment;
    const chips = why.querySelectorAll('.chip[aria-pressed="true"]');
    const tags = [...chips].map((chip) => chip.dataset.tag);
    const gesture = newGesture();
    waiting.set(completion, { gesture, tags, comment: said });
    const value = Number(why.dataset.value);
    tell("rate", { completion, value, tags, comment: said, gesture });
  }

  function mark(field) {
    const why = field.closest(".why");
    const name = fieldName(completionOf(field));
    const known = waiting.get(completionOf(field));
    const saved = known ? known.comment : why.dataset.comment;
    field.form.classList.toggle("changed", field.value.trim() !== saved);
    field.style.height = "auto";
    field.style.height = field.scrollHeight + 2 + "px";
    unsent.keep(name, field.value.trim() === why.dataset.comment ? "" : field.value);
  }

  thread.addEventListener("input", (event) => {
    if (event.target.matches(".comment textarea")) mark(event.target);
  });
  thread.addEventListener("submit", (event) => {
    if (!event.target.matches(".comment")) return;
    event.preventDefault();
    const field = event.target.querySelector("textarea");
    write(event.target.closest(".why"), field.value.trim());
    mark(field);
  });
  thread.addEventListener("keydown", (event) => {
    if (!event.target.matches(".comment textarea") || event.isComposing || event.keyCode === 229) return;
    if (event.key !== "Enter" || event.shiftKey) return;
    event.preventDefault();
    event.target.form.requestSubmit();
  });

  return {
    toggle(chip) {
      chip.setAttribute("aria-pressed", String(chip.getAttribute("aria-pressed") !== "true"));
      write(chip.closest(".why"));
    },
    forget: (completion) => waiting.delete(completion),
    settle(done) {
      for (const [completion, { gesture, tags }] of waiting) {
        if (gesture in done) waiting.delete(completion);
        else
          for (const chip of thread.querySelectorAll(`[data-completion="${completion}"] .chip`))
            chip.setAttribute("aria-pressed", String(tags.includes(chip.dataset.tag)));
      }
      for (const field of thread.querySelectorAll(".comment textarea")) {
        const kept = unsent.read(fieldName(completionOf(field)));
        if (kept && field.value !== kept) field.value = kept;
        mark(field);
      }
    },
  };
}
