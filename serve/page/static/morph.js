// Turn one element into what `html` says, touching only what differs: focus, selection and
// scroll places survive. Nodes marked data-keep are the browser's own (an open editor).
function morphHtml(target, html) {
  const source = document.createElement("template");
  source.innerHTML = html;
  morphChildren(target, source.content);
}

// Children with a data-key stay who they are while others come and go around them.
function morphChildren(target, source) {
  const old = [...target.childNodes].filter((n) => !(n.dataset && "keep" in n.dataset));
  const fresh = [...source.childNodes];
  const places = new Map(old.map((node, at) => [keyOf(node), at]));
  const wanted = new Set(fresh.map(keyOf));
  let i = 0;
  for (const node of fresh) {
    const key = keyOf(node);
    const place = key === null ? -1 : (places.get(key) ?? -1);
    while (place > i) old[i++].remove();
    const here = old[i];
    const free = here && (place === i || keyOf(here) === null || !wanted.has(keyOf(here)));
    if (free && alike(here, node)) morphNode(old[i++], node);
    else target.insertBefore(node, here || null);
  }
  old.slice(i).forEach((node) => node.remove());
}

const keyOf = (node) => (node.nodeType === 1 ? node.getAttribute("data-key") : null);

function alike(a, b) {
  if (a.nodeType !== b.nodeType || a.nodeName !== b.nodeName) return false;
  return keyOf(a) === keyOf(b);
}

function morphNode(a, b) {
  if (a.nodeType !== 1) {
    if (a.data !== b.data) a.data = b.data;
    return;
  }
  for (const { name } of [...a.attributes])
    if (!b.hasAttribute(name) && name !== "data-open" && name !== "open") a.removeAttribute(name);
  for (const { name, value } of b.attributes)
    if (a.getAttribute(name) !== value) a.setAttribute(name, value);
  morphChildren(a, b);
}

// Values can arrive out of order (a stream's last word after a switch): older ones are dropped.
function onNewest(props, watch, show) {
  let revision = 0;
  const take = () => {
    const value = props.value;
    if (!value || !value.revision || value.revision <= revision) return;
    revision = value.revision;
    show(value);
  };
  watch("value", take);
  take();
}

// The name of one gesture: the API takes it once, however often it is sent.
function newGesture() {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return "page-" + [...bytes].map((b) => b.toString(16).padStart(2, "0")).join("");
}

function onAction(element, actions) {
  element.addEventListener("click", (event) => {
    const button = event.target.closest("[data-act]");
    if (!button || !element.contains(button) || button.disabled) return;
    const action = actions[button.dataset.act];
    if (action) action(button, event);
  });
}
