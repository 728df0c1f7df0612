// The conversation list: shows what the server rendered; renames and confirms in place.
const list = element.querySelector(".list");
const problem = element.querySelector(".problem");
const find = element.querySelector(".find input");
const page = document.documentElement;
const entry = (node) => node.closest("li");

function closeDrawer() {
  page.classList.remove("drawer");
}

// A small form in place of an entry; leaving it by Escape changes nothing.
function inPlace(item, html, keep) {
  list.querySelectorAll(".in-place").forEach((form) => form.remove());
  const form = document.createElement("form");
  form.className = "in-place";
  form.dataset.keep = "";
  form.innerHTML = html;
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    keep(form);
    form.remove();
  });
  form.addEventListener("keydown", (event) => event.key === "Escape" && form.remove());
  item.append(form);
  return form;
}

function rename(button) {
  const item = entry(button);
  const html = '<input aria-label="Title" maxlength="200"><button type="submit">Save</button>';
  const form = inPlace(item, html, (f) =>
    trigger("rename", { id: item.dataset.id, text: f.querySelector("input").value }),
  );
  const field = form.querySelector("input");
  field.value = item.querySelector(".open").textContent;
  field.select();
}

function remove(button) {
  const item = entry(button);
  const html =
    '<span>Delete it?</span><button type="button" data-act="keep">Keep</button>' +
    '<button type="submit" class="danger">Delete</button>';
  const form = inPlace(item, html, () => trigger("delete", { id: item.dataset.id }));
  form.querySelector(".danger").focus();
}

onAction(element, {
  fresh() {
    closeDrawer();
    history.replaceState(history.state, "", location.pathname + location.search);
    trigger("fresh", {});
  },
  open(button) {
    closeDrawer();
    trigger("open", { id: entry(button).dataset.id });
  },
  rename,
  delete: remove,
  keep: (button) => button.closest("form").remove(),
  more: () => trigger("more", {}),
  close: closeDrawer,
});

let typing = null;
find.addEventListener("input", () => {
  clearTimeout(typing);
  typing = setTimeout(() => trigger("search", { text: find.value }), 180);
});
document.addEventListener("keydown", (event) => event.key === "Escape" && closeDrawer());

const RETRY = 3000; // milliseconds until a list that could not be read is asked for again
let retrying = null;
const who = element.querySelector(".who");
onNewest(props, watch, (value) => {
  if (value.login) return void location.reload(); // the session has ended: to the sign-in form
  who.hidden = !value.who;
  who.querySelector("span").textContent = value.who;
  morphHtml(list, value.problem ? "" : value.html);
  problem.textContent = value.problem;
  problem.hidden = !value.problem;
  clearTimeout(retrying);
  const conversation = location.hash.startsWith("#conv_") ? location.hash.slice(1) : "";
  if (value.problem) retrying = setTimeout(() => trigger("retry", { conversation }), RETRY);
});
