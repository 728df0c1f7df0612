// The message field: it is emptied only when the page's server has taken the message.
const PATIENCE = 8000; // milliseconds until an unanswered message is called unanswered

function makeComposer(element, { send, stop, leave, editLast, say }) {
  const form = element.querySelector(".composer");
  const field = form.querySelector("textarea");
  const two = form.querySelector(".two");
  const go = form.querySelector(".go");
  let busy = false;
  let waiting = null;
  let sent = ""; // until its answer has come

  field.value = unsent.read("message");

  function fit() {
    field.style.height = "auto";
    field.style.height = Math.min(field.scrollHeight, window.innerHeight * 0.4) + "px";
    go.disabled = !busy && !field.value.trim();
  }

  // `rest` is what the field holds again when the message was taken.
  function submit(rest = "") {
    const text = field.value.trim();
    if (!text || busy || waiting) return;
    const gesture = newGesture();
    const timer = setTimeout(() => {
      waiting = null;
      say(t("page_silent"));
    }, PATIENCE);
    waiting = { gesture, timer, rest };
    sent = text;
    send(text, two.getAttribute("aria-pressed") === "true" ? 2 : 1, gesture);
  }

  field.addEventListener("input", () => {
    fit();
    unsent.keep("message", field.value);
  });
  field.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !event.isComposing) (busy ? stop : leave)();
    if (event.key === "ArrowUp" && !field.value && !busy) {
      event.preventDefault();
      editLast();
    }
    // While an input method composes (Chinese, Japanese), Enter picks a character.
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    submit();
  });
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (busy) stop();
    else submit();
  });
  fit();

  return {
    // Send something else than what is being typed, which stays.
    ask(text) {
      if (busy || waiting) return;
      const rest = field.value;
      field.value = text;
      fit();
      submit(rest);
    },
    toggleTwo() {
      two.setAttribute("aria-pressed", String(two.getAttribute("aria-pressed") !== "true"));
      field.focus();
    },
    focus: () => field.focus(),
    // A message whose answer could not begin is in the field again after a reload.
    keepSent() {
      if (sent && !field.value.trim()) unsent.keep("message", sent);
    },
    update(value) {
      busy = value.busy;
      if (!busy && !waiting) sent = "";
      const name = busy ? "stop" : "send";
      const said = `aria-label:${name} title:${name}`;
      if (go.dataset.t !== said) {
        go.dataset.t = said;
        translate(form);
      }
      go.classList.toggle("busy", busy);
      if (waiting && waiting.gesture in value.done) {
        clearTimeout(waiting.timer);
        const problem = value.done[waiting.gesture];
        if (problem) say(problem);
        else field.value = waiting.rest;
        unsent.keep("message", field.value);
        waiting = null;
      }
      fit();
    },
  };
}
