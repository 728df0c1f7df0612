// What one text changes in another, word by word: a list of ["same" | "gone" | "new", text].
const MOST_CELLS = 4e6; // beyond that many pairs of words the middle is shown as replaced

function wordsIn(text) {
  return [...new Intl.Segmenter(undefined, { granularity: "word" }).segment(text)].map((s) => s.segment);
}

function diffWords(before, after) {
  const a = wordsIn(before);
  const b = wordsIn(after);
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let end = 0;
  const most = Math.min(a.length, b.length) - start;
  while (end < most && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const parts = [["same", a.slice(0, start).join("")]];
  parts.push(...middle(a.slice(start, a.length - end), b.slice(start, b.length - end)));
  parts.push(["same", a.slice(a.length - end).join("")]);
  return joined(parts);
}

// By the longest common subsequence; rows of the table are walked from the end.
function middle(a, b) {
  if (a.length * b.length > MOST_CELLS) return [["gone", a.join("")], ["new", b.join("")]];
  const width = b.length + 1;
  const common = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--)
    for (let j = b.length - 1; j >= 0; j--)
      common[i * width + j] =
        a[i] === b[j]
          ? common[(i + 1) * width + j + 1] + 1
          : Math.max(common[(i + 1) * width + j], common[i * width + j + 1]);
  const parts = [];
  let i = 0;
  let j = 0;
  while (i < a.length || j < b.length)
    if (i < a.length && j < b.length && a[i] === b[j]) {
      parts.push(["same", a[i++]]);
      j++;
    } else if (j === b.length || (i < a.length && common[(i + 1) * width + j] >= common[i * width + j + 1]))
      parts.push(["gone", a[i++]]);
    else parts.push(["new", b[j++]]);
  return parts;
}

// Neighbours of a kind as one.
function joined(parts) {
  const runs = [];
  for (const [kind, text] of parts) {
    const last = runs[runs.length - 1];
    if (!text) continue;
    if (last && last[0] === kind) last[1] += text;
    else runs.push([kind, text]);
  }
  return runs;
}

function showDiff(place, before, after) {
  place.hidden = before === after;
  const tags = { same: "span", gone: "del", new: "ins" };
  place.querySelector("p").replaceChildren(
    ...diffWords(before, after).map(([kind, text]) => {
      const node = document.createElement(tags[kind]);
      node.textContent = text;
      return node;
    }),
  );
}
