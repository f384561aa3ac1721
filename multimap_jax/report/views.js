// The views of one aspect. Each fills the element it is given.
const LOW_CONFIDENCE = 500; // images that the view of low confidence shows, at most
const LOW_CONFIDENCE_TITLE = "Least confident first";
let plot = null;

const views = {
  groups: { title: () => "Groups", exists: () => true, show: showGroups },
  map: { title: () => "Map", exists: () => open().map !== null, show: (host) => (plot = new Plot(host)) },
  compare: { title: () => "Compare", exists: () => data.aspects.length > 1, show: showComparison },
  confidence: {
    title: () => LOW_CONFIDENCE_TITLE,
    exists: () => leastConfident(state.aspect).length > 0,
    show: showLowConfidence,
  },
  unassigned: {
    title: () => {
      const titles = unassignedSections().map(({ key, size }) => `${key} (${decimal(size)})`).join(", ");
      return titles[0].toUpperCase() + titles.slice(1);
    },
    exists: () => unassignedSections().length > 0,
    show: (host) => (grid = new Grid(host, unassignedSections())),
  },
  about: { title: () => "About", exists: () => true, show: showAbout },
};

// A section of the grid. size: of the images, with those that are not on this page.
function section(key, name, images, facts, { size = images.length, buttons = [], caption = null } = {}) {
  if (images.length < size) facts = `${facts}, ${decimal(images.length)} of them on this page`;
  const heading = make("div", { class: "heading" }, make("h2", {}, name), make("small", {}, facts));
  if (buttons.length) heading.append(make("div", { class: "tools" }, ...buttons));
  return { key, heading, label: `${name}, ${facts}`, images, size, caption };
}

function groupSection(group) {
  const { confidences } = current();
  const facts = [count(group.size, "image")];
  const known = confidences ? group.images.filter((i) => confidences[i] !== null) : [];
  if (known.length && group.images.length === group.size) {
    const mean = known.reduce((sum, i) => sum + confidences[i], 0) / known.length;
    facts.push(`confidence ${mean.toFixed(2)}`);
  }
  const ofName = group.name_confidence;
  if (ofName) facts.push(`name confidence ${ofName.toFixed(2)}${ofName < GUESS ? " (a guess)" : ""}`);
  if (group.into) facts.push(`will be split into ${group.into} when the edits are applied`);
  const edit = (text, ask) =>
    button(text, () => ask(group), {
      "aria-label": `${text} ${group.name}`,
      "data-does": text.toLowerCase(),
      disabled: group.into > 0,
    });
  const buttons = editable ? [edit("Rename", askRename), edit("Merge", askMerge), edit("Split", askSplit)] : [];
  return section(group.id, group.name, group.images, facts.join(", "), { size: group.size, buttons });
}

function unassignedSection() {
  const { images, size } = current().unassigned;
  return size ? [section("unassigned", UNASSIGNED_NAME, images, count(size, "image"), { size })] : [];
}

function unassignedSections() {
  const { labels } = current();
  const images = closest(state.aspect).filter((i) => isOutlier(i) && labels[i] !== UNASSIGNED);
  const facts = `${count(images.length, "image")} unlike most others`;
  return [...unassignedSection(), ...(images.length ? [section("outliers", "Outliers", images.reverse(), facts)] : [])];
}

function showGroups(host) {
  const texts = [open().separability, !isEdited() && open().selection].filter(Boolean);
  const box = make("div");
  host.append(...texts.map((text) => paragraph(text)), box);
  grid = new Grid(box, [...current().groups.map(groupSection), ...unassignedSection()]);
}

function showLowConfidence(host) {
  const { confidences } = current();
  const facts = confidences
    ? "the number is the confidence, from 0 to 1"
    : "confidences are unknown; images farthest from the middle of their group come first";
  const images = leastConfident(state.aspect).slice(0, LOW_CONFIDENCE);
  const caption = (i) => confidences?.[i].toFixed(2);
  grid = new Grid(host, [section("confidence", LOW_CONFIDENCE_TITLE, images, facts, { caption })]);
}

// Two aspects: the number of images in each pair of groups; a cell opens them.
function showComparison(host) {
  const others = data.aspects.map((_, i) => i).filter((i) => i !== state.aspect);
  if (!others.includes(state.other)) [state.other, state.cell] = [others[0], null];
  const onchange = (event) => {
    Object.assign(state, { other: Number(event.target.value), cell: null });
    show();
  };
  const options = others.map((i) => option(i, data.aspects[i].name, i === state.other));
  const choice = make("select", { id: "other", onchange }, ...options);
  const found = pairs();
  const box = make("div");
  host.append(paragraph(make("label", { for: "other" }, `Compare ${open().name} with `), choice), pairTable(found), box);
  if (!state.cell) return box.append(quiet("Click a number to see the images that are in both groups."));
  const images = found.get(JSON.stringify(state.cell))?.images ?? [];
  grid = new Grid(box, [section("cell", state.cell.join(" and "), images, count(images.length, "image"))]);
}

// [group, other group] as JSON -> {images on this page, size with the hidden ones}.
function pairs() {
  const results = [state.aspect, state.other].map((index) => current(index));
  const names = results.map(({ groups }) => new Map(groups.map((group) => [group.id, group.name])));
  const found = new Map();
  const pair = (...ids) => {
    const key = JSON.stringify(ids.map((id, n) => names[n].get(id) ?? UNASSIGNED_NAME));
    if (!found.has(key)) found.set(key, { images: [], size: 0 });
    return found.get(key);
  };
  for (const i of closest(state.aspect)) {
    const one = pair(...results.map(({ labels }) => labels[i]));
    one.images.push(i);
    one.size++;
  }
  if (!data.hidden) return found;
  // Hidden images count where edits of groups have put them.
  const swapped = state.aspect > state.other;
  const groups = [state.aspect, state.other].map(groupAfterEdits);
  const counts = data.hidden[[state.aspect, state.other].sort((a, b) => a - b).join(",")];
  counts.forEach((row, a) =>
    row.forEach((number, b) => {
      if (number) pair(groups[0](swapped ? b : a), groups[1](swapped ? a : b)).size += number;
    }),
  );
  return found;
}

// A function: number of a group in the run -> its id after the merges made here.
function groupAfterEdits(index) {
  const { groups } = data.aspects[index];
  const result = { ...original(data.aspects[index]), labels: Int32Array.from(groups.keys()) };
  replay(result, index, ["rename", "merge", "split"]);
  return (id) => (id < groups.length ? result.labels[id] : UNASSIGNED);
}

function pairTable(found) {
  const [names, others] = [state.aspect, state.other].map((index) => {
    const { groups, unassigned } = current(index);
    return groups.map((group) => group.name).concat(unassigned.size ? [UNASSIGNED_NAME] : []);
  });
  const largest = Math.max(1, ...[...found.values()].map(({ size }) => size));
  const cell = (name, other) => {
    const key = JSON.stringify([name, other]);
    const size = found.get(key)?.size ?? 0;
    const chosen = JSON.stringify(state.cell) === key;
    const toggle = () => {
      state.cell = chosen ? null : [name, other];
      show();
      document.querySelector(`[data-cell=${CSS.escape(key)}]`)?.focus();
    };
    const label = `${name} and ${other}: ${count(size, "image")}`;
    const attributes = { "aria-pressed": chosen, "aria-label": label, disabled: !size, "data-cell": key };
    const element = button(decimal(size), toggle, attributes);
    const share = Math.round((100 * size) / largest);
    if (size) element.style.background = `color-mix(in srgb, var(--chosen) ${share}%, var(--raised))`;
    return make("td", {}, element);
  };
  const rows = names.map((name) => [make("th", { scope: "row" }, name), ...others.map((other) => cell(name, other))]);
  return table([`${open().name} / ${data.aspects[state.other].name}`, ...others], rows, { type: "cells" });
}

// Columns of the evidence for each number of groups.
const MEANINGS = {
  stability: "how well the same groups come back in other images, from 0 to 1",
  "smallest trial group": "the share of images in the smallest group of a quick trial; the groups of the result differ",
  inertia: "how far images lie from the middle of their trial group, as a share of the same for one group",
  score: "ranks the numbers; the highest is chosen",
};

// The sections of "About": a title and a function to its elements; what is not known is falsy.
const about = {
  Words: ({ separability, words }) => [separability, words].filter(Boolean).map((text) => paragraph(text)),
  "Number of groups": ({ selection, candidates, merge_order }) => [
    (selection || merge_order.length) && isEdited() && paragraph("Before the edits made here:"),
    selection && paragraph(selection),
    candidates && paragraph("The evidence for each number of groups. The chosen one is marked."),
    candidates && table(candidates.columns, candidates.rows, candidates),
    ...(candidates?.columns ?? []).map((name) => Object.hasOwn(MEANINGS, name) && quiet(`${name}: ${MEANINGS[name]}`)),
    ...merge_order.map((text) => paragraph(text)),
  ],
  "Compared with your labels": ({ metrics }) => [
    metrics && paragraph(`${decimal(metrics.images)} of ${count(metrics.of, "image")} compared, before any edits made here:`),
    metrics && table(["method", ...metrics.columns], metrics.rows, { digits: 3 }),
  ],
  "Command of this run": () => [data.command && command(data.command)],
  "Edits made here": () => [
    editable && paragraph("Save your edits, then apply them with this command. It makes a new run and leaves this one as it is:"),
    editable && command(editLine()),
  ],
  Settings: () => [data.settings.length && table(["setting", "value"], data.settings)],
};

function showAbout(host) {
  const box = make("div", { class: "about" });
  for (const [title, elements] of Object.entries(about)) {
    const known = elements(open()).filter(Boolean);
    if (known.length) box.append(make("h2", {}, title), ...known);
  }
  host.append(box);
}
