// The views of one aspect. Each fills the element it is given.
let plot = null;

const views = {
  groups: { title: () => "Groups", there: () => true, show: showGroups },
  map: {
    title: () => "Map",
    there: () => open().map !== null,
    show: (host) => {
      plot = new Plot(host);
    },
  },
  crossed: { title: () => "Crossed", there: () => data.aspects.length > 1, show: showCrossed },
  unsure: { title: () => "Least sure", there: () => true, show: showUnsure },
  left: {
    title: () =>
      `Left over, outliers (${leftSections()
        .reduce((sum, each) => sum + each.size, 0)
        .toLocaleString("en")})`,
    there: () => leftSections().length > 0,
    show: showLeft,
  },
  about: { title: () => "About", there: () => true, show: showAbout },
};
const UNSURE = 500;

function heading(name, small, ...buttons) {
  return make(
    "div",
    { class: "heading" },
    make("h2", {}, name),
    make("small", {}, small),
    buttons.length ? make("div", { class: "tools" }, ...buttons) : null,
  );
}

function more(group) {
  return group.images.length < group.size ? `, ${group.images.length.toLocaleString("en")} are in this page` : "";
}

// How sure it is on average that images of a group belong to it; "" where not all of them are in this page.
function surely(group) {
  const known = open().sure;
  if (!known || !group.images.length || group.images.length < group.size) return "";
  const mean = group.images.reduce((sum, i) => sum + known[i], 0) / group.images.length;
  return `, ${Math.round(100 * mean)}% sure of them`;
}

function groupSection(group) {
  const sure = group.sure ? `, ${Math.round(100 * group.sure)}% sure of the name` : "";
  const parts = group.into ? `, to be split in ${group.into} by multimap edit` : "";
  const small = count(group.size, "image") + surely(group) + sure + more(group) + parts;
  const button = (text, ask) =>
    make(
      "button",
      {
        type: "button",
        "aria-label": `${text} ${group.name}`,
        "data-does": text.toLowerCase(),
        disabled: group.into > 0,
        onclick: () => ask(group),
      },
      text,
    );
  const buttons = !editable ? [] : [button("Rename", askRename), button("Merge", askMerge), button("Split", askSplit)];
  return {
    key: group.id,
    heading: heading(group.name, small, ...buttons),
    label: `${group.name}, ${small}`,
    images: group.images,
  };
}

function showGroups(host) {
  const found = current(),
    sections = found.groups.map(groupSection);
  if (found.left.size) sections.push(leftSection(found));
  const seen = [open().separability, open().number].filter(Boolean).map((text) => make("p", {}, text));
  const box = make("div", {});
  host.append(...seen, box);
  grid = new Grid(box, sections);
}

function leftSection(found) {
  const small = count(found.left.size, "image") + more(found.left);
  return {
    key: "left",
    heading: heading(LEFT_NAME, small),
    label: `${LEFT_NAME}, ${small}`,
    images: found.left.images,
    size: found.left.size,
  };
}

function leftSections() {
  const found = current(),
    sections = found.left.size ? [leftSection(found)] : [];
  const away = closest(state.aspect)
    .filter((i) => isFar(i) && found.labels[i] !== LEFT)
    .reverse();
  const small = `${count(away.length, "image")} of something else than the others`;
  if (away.length)
    sections.push({
      key: "far",
      heading: heading("Outliers", small),
      label: `Outliers, ${small}`,
      images: away,
      size: away.length,
    });
  return sections;
}

function showLeft(host) {
  grid = new Grid(host, leftSections());
}

function showUnsure(host) {
  const images = leastSure(state.aspect).slice(0, UNSURE);
  const small = open().sure
    ? "the least sure first"
    : "those farthest from their group's centre first; this run says no confidence";
  grid = new Grid(host, [
    { key: "unsure", heading: heading("Least sure images", small), label: "Least sure images", images },
  ]);
}

// Two aspects: how many images each pair of groups has; a cell opens them.
function showCrossed(host) {
  const others = data.aspects.map((_, i) => i).filter((i) => i !== state.aspect);
  if (!others.includes(state.other)) [state.other, state.cell] = [others[0], null];
  const choice = make(
    "select",
    {
      id: "other",
      onchange: (event) => {
        state.other = Number(event.target.value);
        state.cell = null;
        show();
      },
    },
    ...others.map((i) => make("option", { value: i, selected: i === state.other }, data.aspects[i].name)),
  );
  const box = make("div", {});
  host.append(make("p", {}, make("label", { for: "other" }, `${open().name} and `), choice), crossTable(), box);
  if (!state.cell)
    return box.append(make("p", { class: "quiet" }, "A number opens the images that are in both groups."));
  const [name, other] = state.cell,
    images = pairs().get(JSON.stringify(state.cell))?.images ?? [];
  const small = count(images.length, "image");
  grid = new Grid(box, [
    { key: "cell", heading: heading(`${name} and ${other}`, small), label: `${name} and ${other}, ${small}`, images },
  ]);
}

// [group, other group] as JSON -> {images in this page, size of all}.
function pairs() {
  const own = current(),
    theirs = current(state.other),
    found = new Map(),
    names = [own, theirs].map((one) => new Map(one.groups.map((group) => [group.id, group.name])));
  const cell = (a, b) => {
    const key = JSON.stringify([names[0].get(a) ?? LEFT_NAME, names[1].get(b) ?? LEFT_NAME]);
    if (!found.has(key)) found.set(key, { images: [], size: 0 });
    return found.get(key);
  };
  for (const i of closest(state.aspect)) {
    const one = cell(own.labels[i], theirs.labels[i]);
    one.images.push(i);
    one.size++;
  }
  return data.rest ? withRest(found, cell) : found;
}

// Images that are not in this page count where the edits of groups, not of images, have put them.
function withRest(found, cell) {
  const flipped = state.aspect > state.other;
  const counts = data.rest[[state.aspect, state.other].sort((a, b) => a - b).join(",")];
  const to = [state.aspect, state.other].map((index) => merged(index));
  counts.forEach((row, a) =>
    row.forEach((number, b) => {
      if (number) cell(to[0](flipped ? b : a), to[1](flipped ? a : b)).size += number;
    }),
  );
  return found;
}

// Group as the run numbered it -> group after the merges made here.
function merged(index) {
  const aspect = data.aspects[index],
    found = { ...begun(aspect), labels: Int32Array.from(aspect.groups.keys()) };
  for (const edit of state.edits)
    if (edit.aspect === aspect.name && !edit.move && !edit.leftover) replayed(found, edit);
  return (id) => (id < aspect.groups.length ? found.labels[id] : LEFT);
}

function crossTable() {
  const found = pairs(),
    [own, theirs] = [current(), current(state.other)].map((one) =>
      one.groups.map((group) => group.name).concat(one.left.size ? [LEFT_NAME] : []),
    );
  const most = Math.max(1, ...[...found.values()].map((one) => one.size));
  const cell = (name, other) => {
    const key = JSON.stringify([name, other]),
      size = found.get(key)?.size ?? 0,
      chosen = JSON.stringify(state.cell) === key;
    const button = make(
      "button",
      {
        type: "button",
        "aria-pressed": chosen,
        "aria-label": `${name} and ${other}: ${count(size, "image")}`,
        disabled: !size,
        "data-cell": key,
        onclick: () => {
          state.cell = chosen ? null : [name, other];
          show();
          document.querySelector(`[data-cell=${CSS.escape(key)}]`)?.focus();
        },
      },
      size.toLocaleString("en"),
    );
    if (size)
      button.style.background = `color-mix(in srgb, var(--chosen) ${Math.round((100 * size) / most)}%, var(--raised))`;
    return make("td", {}, button);
  };
  const head = make(
    "tr",
    {},
    make("th", { scope: "col" }, `${open().name} / ${data.aspects[state.other].name}`),
    ...theirs.map((name) => make("th", { scope: "col" }, name)),
  );
  const rows = own.map((name) =>
    make("tr", {}, make("th", { scope: "row" }, name), ...theirs.map((other) => cell(name, other))),
  );
  return make(
    "div",
    { class: "scroll" },
    make("table", { class: "cells" }, make("thead", {}, head), make("tbody", {}, ...rows)),
  );
}

const BECOME =
  "Which groups would become one, the first first, and how much of what tells groups apart would be given up by that:";

// The parts of "About": a title and what stands below it, null for what is not known.
const parts = {
  "Does the encoder see it?": ({ separability, words }) =>
    separability || words
      ? [make("p", {}, separability || "What was found stands at the top of this page."), make("p", {}, words)]
      : null,
  "The number of groups": ({ number, evidence, merges }) =>
    evidence || merges.length
      ? [
          number ? make("p", {}, number) : null,
          evidence ? make("p", {}, "What speaks for each number; the chosen one is marked.") : null,
          evidence ? table(evidence.columns, evidence.rows, evidence.chosen) : null,
          merges.length ? make("p", {}, BECOME) : null,
          ...merges.map((text) => make("p", {}, text)),
        ].filter(Boolean)
      : null,
  "Agreement with the labels given": ({ metrics }) =>
    metrics && [
      make(
        "p",
        {},
        `For ${metrics.images.toLocaleString("en")} of ${count(metrics.of, "image")}, before any edit here:`,
      ),
      table(["groups by", ...metrics.columns], metrics.rows, [], 3),
    ],
  "The same run again": () => (data.repeat ? [make("pre", { id: "repeat", tabindex: 0 }, data.repeat)] : null),
  "Edits made here": () =>
    editable
      ? [
          make("p", {}, "Save edits, then put them into effect; the run itself stays as it is:"),
          make("pre", { tabindex: 0 }, editLine()),
        ]
      : null,
  Settings: () => (data.settings.length ? [table(["setting", "value"], data.settings)] : null),
};

function showAbout(host) {
  const found = Object.entries(parts).map(([title, part]) => [title, part(open())]);
  const there = found.filter(([, below]) => below);
  host.append(make("div", { class: "about" }, ...there.flatMap(([title, below]) => [make("h2", {}, title), ...below])));
}
