"use strict";
// The example browser. Texts are model output: they only ever become text nodes.
(() => {
  const PAGE_SIZE = 10;
  const source = document.getElementById("examples-data");
  if (!source) return;
  const data = JSON.parse(source.textContent);
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
    row.id, row.task, ...row.references, ...row.choices.map((choice) => choice.words),
    ...row.prompts.flatMap((prompt) => prompt.messages.map((message) => message.text)),
    ...row.outputs.map((output) => output ? output.text : ""),
  ].join("\n").toLowerCase()]));

  function element(name, text, className) {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  function sign(right) {
    const made = element("span", "", right ? "sign right" : "sign wrong");
    const shown = element("span", right ? "✓" : "✗");
    shown.setAttribute("aria-hidden", "true");
    made.append(shown, element("span", right ? "right" : "wrong", "hidden"));
    return made;
  }

  function answer(label, mark, texts, className) {
    const group = element("div", "", className);
    const term = element("dt", `${label} `);
    if (mark) term.append(mark);
    group.append(term, ...texts.map((text) => element("dd", text || "(empty)")));
    return group;
  }

  function output(made, index) {
    const name = data.systems[index];
    const score = made.score === null ? null : element("span", made.score.toFixed(3));
    const mark = made.right === null ? score : sign(made.right);
    const group = answer(name, mark, [made.text], name === data.recommended ? "chosen" : "");
    if (made.finish === "length") group.lastChild.append(element("em", " cut at the length limit"));
    for (const [extractor, text] of made.found) {
      const line = element("dd");
      line.append(element("em", `found by ${extractor}: `), text);
      group.append(line);
    }
    return group;
  }

  function heading(text, scope, className) {
    const cell = element("th", text, className);
    cell.scope = scope;
    return cell;
  }

  function probability(made, choice, index) {
    if (!made || !made.probabilities.length) return element("td");
    const cell = element("td", "", made.text === choice.label ? "picked" : "");
    cell.title = `log-probability ${made.likelihoods[index].toFixed(3)}`;
    const bar = element("span", `${(100 * made.probabilities[index]).toFixed(0)} %`, "bar");
    bar.style.setProperty("--p", made.probabilities[index].toFixed(4));
    cell.append(bar);
    if (made.text === choice.label) cell.append(element("span", "chosen", "hidden"));
    return cell;
  }

  function systemHeading(row, name, index) {
    const cell = heading(`${name} `, "col", name === data.recommended ? "chosen" : "");
    const made = row.outputs[index];
    if (made && made.right !== null) cell.append(sign(made.right));
    return cell;
  }

  function choiceTable(row) {
    const table = element("table", "", "choices");
    table.createTHead().insertRow().append(heading("Choice", "col"),
      ...data.systems.map((name, index) => systemHeading(row, name, index)));
    const body = table.createTBody();
    row.choices.forEach((choice, index) => {
      const line = body.insertRow();
      if (choice.right) line.className = "accepted";
      const label = heading(`${choice.label} `, "row");
      if (choice.right) label.append(element("em", "right answer"));
      if (choice.words !== choice.label) label.append(element("small", choice.words));
      line.append(label, ...row.outputs.map((made) => probability(made, choice, index)));
    });
    const scroll = element("div", "", "scroll");
    scroll.tabIndex = 0;
    scroll.setAttribute("role", "region");
    scroll.setAttribute("aria-label", "Choices");
    scroll.append(table);
    return scroll;
  }

  function prompt(row) {
    const made = element("details", "", "prompt");
    made.append(element("summary", row.asked));
    for (const each of row.prompts) {
      if (row.prompts.length > 1) made.append(element("h4", each.systems.join(", ")));
      const messages = element("ol", "", "messages");
      for (const message of each.messages) {
        const line = element("li");
        line.append(element("b", message.role), element("pre", message.text));
        messages.append(line);
      }
      made.append(messages);
    }
    return made;
  }

  function card(row) {
    const article = element("article");
    const title = element("h3", `${row.number} `);
    title.append(element("span", task ? `${row.id}, ${row.task}` : row.id));
    const outputs = element("dl", "", "outputs");
    if (row.references.length && !row.choices.length) {
      outputs.append(answer("reference", null, row.references, "reference"));
    }
    row.outputs.forEach((made, index) => {
      if (made && !made.probabilities.length) outputs.append(output(made, index));
    });
    article.append(title, prompt(row), ...(row.choices.length ? [choiceTable(row)] : []), outputs);
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
