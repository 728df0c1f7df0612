// The thread: shows what the server rendered, reports gestures by ids, edits in place.
const thread = element.querySelector(".thread");
const scroll = element.querySelector(".scroll");
const notice = element.querySelector(".notice");
const jump = element.querySelector(".newest-button");
const menu = element.querySelector(".more-menu");
const rendered = new Map(); // place in the thread -> html
let shown = { view: -1, conversation: "", title: "", done: {} };
let following = true;
let reading = null; // a block whose beginning stays in sight while it grows
let early = null; // a question asked before the server said what is shown: opening would end it

let clicks = 0; // by which the server knows the last of several that overtook each other
const tell = (kind, data) => trigger(kind, { conversation: shown.conversation, click: ++clicks, ...data });
const say = (text) => {
  notice.textContent = text;
  notice.hidden = !text;
};
const composer = makeComposer(element, {
  send(text, drafts, gesture) {
    followOn();
    const ask = () => tell("send", { text, drafts, gesture });
    if (shown.view === -1) early = ask;
    else ask();
  },
  stop: () => tell("stop", {}),
  leave: () => scroll.focus(),
  editLast() {
    const asked = thread.querySelectorAll(".ask[data-question]");
    if (asked.length) editors.open("edit", asked[asked.length - 1]);
  },
  say,
});
const editors = makeEditors(thread, tell);
const details = makeDetails(thread, tell);
const keys = makeKeys(element, composer);
const idOf = (node) => node.closest("[data-completion]").dataset.completion;

function atBottom() {
  return scroll.scrollHeight - scroll.scrollTop - scroll.clientHeight < 60;
}

function follow() {
  if (following && !(reading && reading.isConnected)) scroll.scrollTop = scroll.scrollHeight;
  else if (following) {
    const top = reading.getBoundingClientRect().top - scroll.getBoundingClientRect().top - 16;
    const below = scroll.scrollHeight - scroll.clientHeight - scroll.scrollTop;
    scroll.scrollTop += Math.max(0, Math.min(top, below));
  }
  jump.hidden = atBottom();
}

function followOn() {
  following = true;
  reading = null;
}

function show(value) {
  if (value.login) {
    composer.keepSent();
    return void location.reload(); // the session has ended: to the sign-in form
  }
  const moved = value.view !== shown.view;
  if (moved) {
    thread.replaceChildren();
    rendered.clear();
    followOn();
  }
  editors.settle(value.done); // before what they stand in may go
  const focused = thread.contains(document.activeElement);
  showTurns(value.turns);
  if (focused && document.activeElement === document.body) scroll.focus(); // keys go on
  showEmpty(value.empty);
  element.querySelector(".title").textContent = value.title || t("new_chat");
  document.title = (value.title ? value.title + " · " : "") + "Redraft";
  menu.hidden = !value.conversation;
  for (const link of menu.querySelectorAll("a"))
    link.href = `export/${value.conversation}.${link.dataset.ending}`;
  thread.setAttribute("aria-busy", String(value.busy));
  const first = shown.view === -1;
  const changed = value.conversation !== shown.conversation;
  shown = value;
  if (changed && !(first && !value.conversation)) address(value.conversation);
  if (value.notice || moved) say(value.notice);
  composer.update(value);
  details.settle(value.done);
  if (moved) editors.restore();
  follow();
  const undoing = document.activeElement.closest(".undo");
  if (moved && !undoing && matchMedia("(hover: hover)").matches) composer.focus();
  if (early) early();
  early = null;
}

function address(id) {
  const wanted = id ? "#" + id : location.pathname + location.search;
  history.replaceState(history.state, "", wanted);
}

function showTurns(turns) {
  turns.forEach((html, i) => {
    if (rendered.get(i) === html && !thread.querySelector(".touched")) return;
    let place = thread.querySelector(`:scope > [data-place="${i}"]`);
    if (!place) {
      place = document.createElement("div");
      place.className = "exchange";
      place.dataset.place = i;
      thread.append(place);
    }
    morphHtml(place, html);
    rendered.set(i, html);
  });
  thread.querySelectorAll(":scope > [data-place]").forEach((place) => {
    if (Number(place.dataset.place) < turns.length) return;
    rendered.delete(Number(place.dataset.place));
    place.remove();
  });
  thread.querySelectorAll(".touched").forEach((node) => node.classList.remove("touched"));
}

function showEmpty(html) {
  const old = thread.querySelector(":scope > .start");
  if (!html) return void (old && old.remove());
  if (old) return morphHtml(old, html);
  const start = document.createElement("div");
  start.className = "start";
  morphHtml(start, html);
  thread.append(start);
}

async function copy(text, button) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const field = document.createElement("textarea"); // no clipboard without HTTPS
    field.value = text;
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
  }
  button.classList.add("copied");
  setTimeout(() => button.classList.remove("copied"), 1200);
}

function judge(button) {
  const compare = button.closest(".compare");
  compare.querySelectorAll(".verdicts button").forEach((b) => (b.disabled = true));
  compare.classList.add("touched");
  const data = { turn: compare.dataset.turn, chosen: button.dataset.chosen };
  tell("judge", { ...data, gesture: newGesture() });
}

function rate(button) {
  const on = button.getAttribute("aria-pressed") !== "true";
  const row = button.closest(".actions");
  row.querySelectorAll(".thumb").forEach((t) => t.setAttribute("aria-pressed", "false"));
  button.setAttribute("aria-pressed", String(on)); // at once; the server's word follows
  row.classList.add("touched");
  const value = on ? Number(button.dataset.value) : 0;
  const part = button.dataset.part || "";
  if (!part) details.forget(idOf(button)); // the reasons go with the thumb
  tell("rate", { completion: idOf(button), part, value, gesture: newGesture() });
}

onAction(element, {
  rate,
  judge,
  copy(button) {
    copy(button.closest("[data-text]").dataset.text, button);
    tell("copied", { completion: idOf(button), gesture: newGesture() });
  },
  "copy-code": (button) => copy(button.closest(".code").querySelector("code").textContent, button),
  chip: (button) => details.toggle(button),
  detail: (button) => tell("detail", { completion: idOf(button) }),
  enough: () => tell("detail", { completion: "" }),
  improve: (button) => editors.open("improve", button),
  edit: (button) => editors.open("edit", button),
  reword: (button) => editors.open("reword", button),
  cancel: (button) => editors.close(button.closest(".editor")),
  reason(button) {
    reading = button.closest(".reasoning");
    const open = button.getAttribute("aria-expanded") === "true";
    tell(open ? "fold" : "reason", { completion: idOf(button) });
  },
  reconsider: (button) => tell("reason", { completion: idOf(button) }),
  misunderstand: (button) =>
    tell("misunderstand", { turn: button.dataset.turn, gesture: newGesture() }),
  uncorrect: (button) => tell("uncorrect", { completion: idOf(button), gesture: newGesture() }),
  unjudge: (button) => tell("unjudge", { turn: button.dataset.turn, gesture: newGesture() }),
  regenerate(button) {
    followOn();
    tell("regenerate", { drafts: Number(button.dataset.drafts), gesture: newGesture() });
  },
  again: () => tell("again", { gesture: newGesture() }),
  select: (button) => tell("select", { to: button.dataset.to }),
  example: (button) => composer.ask(button.dataset.text),
  consent(button) {
    const given = button.getAttribute("aria-checked") !== "true";
    button.setAttribute("aria-checked", String(given)); // at once; the server's word follows
    tell("consent", { given: Number(given) });
  },
  two: () => composer.toggleTwo(),
  follow() {
    followOn();
    follow();
  },
  menu: () => document.documentElement.classList.toggle("drawer"),
  help: keys.help,
  "enough-help": keys.close,
  language: () => speak(nextLanguage()),
  theme: toggleTheme,
});

menu.addEventListener("click", (event) => event.target.closest("a") && (menu.open = false));
menu.addEventListener("focusout", (event) => {
  if (!menu.contains(event.relatedTarget)) menu.open = false;
});
scroll.addEventListener("scroll", () => {
  following = atBottom();
  jump.hidden = following;
});
new ResizeObserver(follow).observe(thread);

function showWords() {
  translate(element);
  nameNextLanguage(element.querySelector(".language"));
  element.querySelector(".title").textContent = shown.title || t("new_chat");
}
document.addEventListener("redraft-language", () => {
  showWords();
  tell("language", {});
});
showWords();

const wanted = location.hash.startsWith("#conv_") ? location.hash.slice(1) : "";
onNewest(props, watch, show);
trigger("hello", { conversation: wanted, utc_offset: -new Date().getTimezoneOffset() });
