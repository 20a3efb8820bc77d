"use strict";
// The example browser. Texts are model output: they only ever become text nodes.
(() => {
  const PAGE_SIZE = 10;
  const data = JSON.parse(document.getElementById("examples-data").textContent);
  const search = document.getElementById("search");
  const filter = document.getElementById("filter");
  const task = document.getElementById("task");
  const list = document.getElementById("list");
  const previous = document.getElementById("previous");
  const next = document.getElementById("next");
  let page = 0;

  const views = {
    all: (rows) => rows,
    right: (rows) => rows.filter((row) => row.right === true),
    wrong: (rows) => rows.filter((row) => row.right === false),
    spread: (rows) => rows.filter((row) => row.spread > 0).sort((a, b) => b.spread - a.spread),
    regressed: (rows) => rows.filter((row) => row.regressed),
  };

  const haystacks = new Map(data.rows.map((row) => [row, [
    row.id, row.task, row.prompt, ...row.references, ...row.choices.map((choice) => choice.words), ...row.outputs.map((output) => output ? output.text : ""),
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
    for (const [extractor, text] of made.found) {
      const line = element("dd");
      line.append(element("em", `found by ${extractor}: `), text);
      group.append(line);
    }
    return group;
  }

  function heading(text, small, scope, className) {
    const cell = element("th", text, className);
    cell.scope = scope;
    if (small) cell.append(element("small", small));
    return cell;
  }

  function likelihood(output, choice, index) {
    if (!output || !output.likelihoods.length) return element("td");
    const cell = element("td", output.likelihoods[index].toFixed(3));
    if (output.text === choice.label) cell.append(element("small", "chosen"));
    return cell;
  }

  function choiceTable(row) {
    const table = element("table", "", "choices");
    const head = table.createTHead().insertRow();
    head.append(heading("Choice", "", "col", "text"),
      ...data.systems.map((name) => heading(name, "log-probability", "col")));
    const body = table.createTBody();
    row.choices.forEach((choice, index) => {
      const line = body.insertRow();
      if (choice.right) line.className = "accepted";
      const label = choice.label + (choice.right ? " ✓" : "");
      line.append(heading(label, choice.words === choice.label ? "" : choice.words, "row"),
        ...row.outputs.map((output) => likelihood(output, choice, index)));
    });
    const scroll = element("div", "", "scroll");
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", "Choices");
    scroll.append(table);
    return scroll;
  }

  function card(row) {
    const article = element("article");
    const title = element("h3", row.id);
    if (task) title.append(" ", element("span", row.task));
    const prompt = element("details");
    const summary = element("summary", "Prompt ");
    summary.append(element("span", row.asked));
    prompt.append(summary, element("pre", row.prompt));
    const outputs = element("dl", "", "outputs");
    if (row.references.length) outputs.append(answer("reference", null, row.references, "reference"));
    row.outputs.forEach((made, index) => { if (made) outputs.append(output(row, index)); });
    article.append(title, prompt, ...(row.choices.length ? [choiceTable(row)] : []), outputs);
    return article;
  }

  function show() {
    const wanted = search.value.trim().toLowerCase();
    const ofTask = task && task.value ? data.rows.filter((row) => row.task === task.value) : data.rows;
    const rows = views[filter.value](ofTask).filter((row) => haystacks.get(row).includes(wanted));
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
  if (task) task.addEventListener("change", restart);
  previous.addEventListener("click", () => turn(-1));
  next.addEventListener("click", () => turn(1));
  document.getElementById("controls").addEventListener("submit", (event) => event.preventDefault());
  document.getElementById("controls").hidden = false;
  document.getElementById("pager").hidden = false;
  show();
})();
