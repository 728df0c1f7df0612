// The reviewers' desk: shows the row that the server rendered, sends verdicts on it.
const PATIENCE = 8000; // milliseconds until a verdict without an answer is called unanswered
const COMMON = 0.2; // share of words that two texts must have in common to be shown as a change
const desk = element.querySelector(".desk");
const scroll = element.querySelector(".scroll");
const notice = element.querySelector(".notice");
const verdicts = element.querySelector(".verdicts");
let shown = { row: null, text: "", html: "", done: {} };
let waiting = null; // the gesture that is under way: until its answer, keys say nothing

const say = (text) => {
  notice.textContent = text;
  notice.hidden = !text;
};
let fixing = false; // then its own buttons are the ones to press
const fix = makeFix(desk, {
  save: (text) => judge("fix", { text }),
  toggled(open) {
    fixing = open;
    verdicts.hidden = open || !shown.row;
  },
});
const keys = makeReviewKeys(element);

function send(kind, data) {
  if (waiting) return;
  const gesture = newGesture();
  const timer = setTimeout(() => {
    settle();
    say(t("page_silent_short"));
  }, PATIENCE);
  waiting = { gesture, timer, kind };
  element.classList.add("waiting");
  trigger(kind, { ...data, row: shown.row, gesture });
}

function settle() {
  clearTimeout(waiting.timer);
  waiting = null;
  element.classList.remove("waiting");
}

const judge = (verdict, data = {}) => shown.row && send("judge", { verdict, ...data });

// What changes between the answer and what would be taught, where it is a change at all.
function markChanges() {
  const before = desk.querySelector(".changes .before p");
  const after = desk.querySelector(".changes .after p");
  if (!before) return;
  const parts = diffWords(before.textContent, after.textContent);
  const length = (wanted) => parts.reduce((sum, [kind, text]) => sum + (wanted(kind) ? text.length : 0), 0);
  if (length((kind) => kind === "same") < COMMON * length(() => true)) return;
  const marked = (side, own, tag) =>
    side.replaceChildren(
      ...parts
        .filter(([kind]) => kind === "same" || kind === own)
        .map(([kind, text]) => Object.assign(document.createElement(kind === own ? tag : "span"), { textContent: text })),
    );
  marked(before, "gone", "del");
  marked(after, "new", "ins");
}

function showRow(value, judged) {
  if (value.html === shown.html) return;
  const other = value.row !== shown.row;
  if (other && judged) fix.close(shown.row);
  desk.innerHTML = value.html;
  markChanges();
  fix.restore(value.row, value.text);
  const first = desk.firstElementChild;
  if (!other || !first) return;
  scroll.scrollTop = 0;
  if (!desk.contains(document.activeElement)) first.focus({ preventScroll: true });
}

function show(value) {
  if (value.login) return void location.reload(); // the session has ended: to the sign-in form
  const ended = waiting && waiting.gesture in value.done ? waiting.kind : "";
  if (ended) settle();
  showRow(value, ended === "judge");
  shown = value;
  verdicts.hidden = fixing || !value.row;
  say(value.notice);
  element.querySelector(".far").hidden = !value.total;
  element.querySelector(".far span").textContent = value.far;
  const bar = element.querySelector("progress");
  bar.max = value.total || 1;
  bar.value = value.reviewed;
  element.querySelector(".last span").textContent = value.said;
  element.querySelector('[data-act="undo"]').hidden = !value.undo;
}

onAction(element, {
  keep: () => judge("keep"),
  fix: () => fix.open(shown.row, shown.text),
  drop: () => judge("drop"),
  skip: () => shown.row && send("skip", {}),
  undo: () => send("undo", {}),
  cancel: () => fix.close(shown.row),
  help: keys.help,
  "enough-help": keys.close,
  language: () => speak(nextLanguage()),
  theme: toggleTheme,
});

function showWords() {
  translate(element);
  nameNextLanguage(element.querySelector(".language"));
  document.title = t("review") + " · Redraft";
}
document.addEventListener("redraft-language", () => {
  showWords();
  trigger("language", {});
});
showWords();

onNewest(props, watch, show);
trigger("hello", {});
