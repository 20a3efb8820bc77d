"use strict";
// The example browser. Texts are model output: they only ever become text nodes.
(() => {
  const PAGE_SIZE = 10;
  const data = JSON.parse(document.getElementById("examples-data").textContent);
  const search = document.getElementById("search");
  const filter = document.getElementById("filter");
  const list = document.getElementById("list");
  const previous = document.getElementById("previous");
  const next = document.getElementById("next");
  let page = 0;

  const views = {
    all: (rows) => rows,
    spread: (rows) => [...rows].sort((a, b) => b.spread - a.spread),
    regressed: (rows) => rows.filter((row) => row.regressed),
  };

  const haystacks = new Map(data.rows.map((row) => [row, [
    row.id, row.prompt, ...row.references, ...row.outputs.map((output) => output ? output.text : ""),
  ].join("\n").toLowerCase()]));

  function element(name, text, className) {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function answer(label, score, texts, className) {
    const group = element("div", "", className);
    const term = element("dt", label);
    if (score !== null) term.append(element("span", score.toFixed(3)));
    group.append(term, ...texts.map((text) => element("dd", text || "(empty)")));
    return group;
  }

  function output(row, index) {
    const name = data.systems[index];
    const made = row.outputs[index];
    const group = answer(name, made.score, [made.text], name === data.recommended ? "chosen" : "");
    if (made.finish === "length") group.lastChild.append(element("em", " cut at the length limit"));
    return group;
  }

  function card(row) {
    const article = element("article");
    const prompt = element("details");
    prompt.append(element("summary", "Prompt"), element("pre", row.prompt));
    const outputs = element("dl", "", "outputs");
    outputs.append(answer("reference", null, row.references, "reference"));
    row.outputs.forEach((made, index) => { if (made) outputs.append(output(row, index)); });
    article.append(element("h3", row.id), prompt, outputs);
    return article;
  }

  function show() {
    const wanted = search.value.trim().toLowerCase();
    const rows = views[filter.value](data.rows).filter((row) => haystacks.get(row).includes(wanted));
    const pages = Math.max(1, Math.ceil(rows.length / PAGE_SIZE));
    page = Math.min(page, pages - 1);
    list.replaceChildren(...rows.slice(page * PAGE_SIZE, (page + 1) * PAGE_SIZE).map(card));
    document.getElementById("count").textContent =
      rows.length === 1 ? "1 example" : `${rows.length} examples`;
    document.getElementById("page").textContent = `${page + 1} of ${pages}`;
    previous.disabled = page === 0;
    next.disabled = page === pages - 1;
  }

  function turn(by) {
    page += by;
    show();
    document.getElementById("examples").scrollIntoView();
  }

  const restart = () => { page = 0; show(); };
  search.addEventListener("input", restart);
  filter.addEventListener("change", restart);
  previous.addEventListener("click", () => turn(-1));
  next.addEventListener("click", () => turn(1));
  document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("controls").hidden = false;
  document.getElementById("pager").hidden = false;
  show();
})();
