"use strict";
// Keys: arrows go to the neighbours, R, F and A press the buttons that show them. One box ticks all. A data
// set is of the ticked events, or else of those that match.
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input:not([type=checkbox]), select, textarea")) return;
  const rel = { ArrowLeft: "prev", ArrowRight: "next" }[event.key];
  const target = rel
    ? document.querySelector(`main a[rel=${rel}]`)
    : document.querySelector(`button[data-key="${CSS.escape(event.key.toLowerCase())}"]`);
  if (!target || target.disabled) return;
  event.preventDefault();
  target.click();
});

const all = document.getElementById("all");
if (all) {
  all.addEventListener("change", () => {
    for (const box of document.querySelectorAll("ol.events input[type=checkbox]:not(:disabled)")) {
      box.checked = all.checked;
    }
  });
}

const dataset = document.getElementById("dataset");
if (dataset) {
  const matching = dataset.href;
  document.getElementById("list").addEventListener("change", () => {
    const ticked = [...document.querySelectorAll("ol.events input:checked")];
    const numbers = ticked.map((box) => box.name.slice(1));
    dataset.href = numbers.length ? `/dataset?seq=${numbers.join(",")}` : matching;
  });
}
