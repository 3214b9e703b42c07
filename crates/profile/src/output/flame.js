// Zoom by click, search by Ctrl-F or the word above. Everything is read from the boxes themselves: data-x and data-w are in samples.
const svg = document.documentElement, boxes = [...svg.querySelectorAll("g.f")];
const WIDE = +svg.dataset.wide, TOTAL = +svg.dataset.total, EDGE = 10, GLYPH = 6.6;
const said = document.getElementById("said"), find = document.getElementById("find"), back = document.getElementById("back");
const of = (g) => ({ x: +g.dataset.x, w: +g.dataset.w, d: +g.dataset.d });
function draw(x, w, depth) {
  for (const g of boxes) {
    const b = of(g), over = b.x < x + w && b.x + b.w > x && b.w > 0;
    g.style.display = over ? "" : "none";
    if (!over) continue;
    const from = Math.max(b.x, x), to = Math.min(b.x + b.w, x + w);
    const left = EDGE + ((from - x) / w) * WIDE, wide = ((to - from) / w) * WIDE;
    const rect = g.querySelector("rect"), text = g.querySelector("text"), name = g.dataset.n;
    rect.setAttribute("x", left); rect.setAttribute("width", Math.max(wide - 0.5, 0.1));
    g.classList.toggle("below", b.d < depth);
    const room = Math.floor((wide - 4) / GLYPH);
    text.setAttribute("x", left + 3);
    text.textContent = room < 3 ? "" : name.length <= room ? name : name.slice(0, room - 2) + "..";
  }
  back.style.display = w < TOTAL ? "" : "none";
}
function search() {
  const word = prompt("Functions whose name has (regular expression):", "");
  if (word === null) return;
  let test = () => false;
  if (word) { try { const re = new RegExp(word); test = (n) => re.test(n); } catch (e) { said.textContent = String(e); return; } }
  const hit = boxes.filter((g) => { const on = test(g.dataset.n); g.classList.toggle("hit", on); return on; }).map(of);
  hit.sort((a, b) => a.x - b.x || b.w - a.w);
  let end = 0, sum = 0;
  for (const b of hit) if (b.x >= end) { sum += b.w; end = b.x + b.w; }
  said.textContent = word ? word + ": " + ((100 * sum) / TOTAL).toFixed(1) + "% of samples" : "";
}
for (const g of boxes) {
  g.addEventListener("click", () => { const b = of(g); draw(b.x, b.w, b.d); });
  g.addEventListener("mouseover", () => { said.textContent = g.querySelector("title").textContent; });
}
back.addEventListener("click", () => draw(0, TOTAL, 0));
find.addEventListener("click", search);
window.addEventListener("keydown", (e) => {
  if ((e.ctrlKey || e.metaKey) && e.key === "f") { e.preventDefault(); search(); }
  if (e.key === "Escape") draw(0, TOTAL, 0);
});
