// The lists under the plots: rows behind a number open over the page, actions are confirmed first.
const rows = element.querySelector("dialog.rows");
const sure = element.querySelector("dialog.sure");
const PLACE = "#rows?";

function showRows() {
  if (!location.hash.startsWith(PLACE)) return void (rows.open && rows.close());
  rows.querySelector(".found").replaceChildren();
  if (!rows.open) rows.showModal();
  rows.scrollTop = 0;
  trigger("rows", Object.fromEntries(new URLSearchParams(location.hash.slice(PLACE.length))));
}

function confirmFirst(button, act) {
  const form = sure.querySelector("form");
  sure.querySelector("h2").textContent = button.dataset.sure;
  sure.querySelector(".about").textContent = button.dataset.about || "";
  sure.querySelector(".go").textContent = button.textContent;
  sure.querySelector(".reason").hidden = act === "start";
  const field = form.querySelector("input");
  field.value = "";
  form.onsubmit = () => trigger(act, { adapter: button.dataset.adapter || "", reason: field.value });
  sure.showModal();
}

onAction(element, {
  enough: () => rows.close(),
  cancel: () => sure.close(),
  more: () => trigger("more", {}),
  promote: (button) => confirmFirst(button, "promote"),
  rollback: (button) => confirmFirst(button, "rollback"),
  start: (button) => confirmFirst(button, "start"),
  learned: (button) => trigger("learned", { run: button.dataset.run }),
});
for (const dialog of [rows, sure])
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close()); // beside it
rows.addEventListener("close", () => {
  if (location.hash.startsWith(PLACE)) history.replaceState(history.state, "", location.pathname + location.search);
  trigger("close", {});
});
addEventListener("hashchange", showRows);
showBody((value) => morphHtml(rows.querySelector(".found"), value.rows || ""));
if (location.hash.startsWith(PLACE)) showRows();
