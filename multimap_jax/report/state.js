"use strict";
// What the page shows: what the run found, with the edits made here replayed on it. Edits name groups as these were
// called when each was made, just as `multimap edit` reads them.
const data = JSON.parse(document.getElementById("data").textContent);
const LEFT = -1,
  LEFT_NAME = "(left over)",
  LONGEST = 200;
const editable = data.run !== ""; // groups are edited where they were found, not where new images were put into them
const place = new Map(data.names.map((name, i) => [name, i]));
const state = {
  aspect: 0,
  view: "groups",
  edits: [],
  saved: 0,
  selected: new Set(),
  other: -1,
  cell: null,
  only: null,
};

// The result of an aspect before any edit. A group holds `rest` images that are not in this page.
function begun(aspect) {
  const labels = Int32Array.from(aspect.labels);
  for (const i of aspect.leftover) labels[i] = LEFT;
  const groups = aspect.groups.map((group, id) => ({ ...group, id, into: 0, rest: group.size }));
  let rest = aspect.left;
  for (const label of labels) label === LEFT ? rest-- : groups[label].rest--;
  return { aspect, groups, labels, rest, parts: [] };
}

const named = (found, name) => found.groups.find((group) => group.name === name);

function replayed(found, edit) {
  if (edit.rename !== undefined) rename(found, edit);
  else if (edit.merge) merge(found, edit);
  else if (edit.split !== undefined) split(found, edit);
  else if (edit.move) assign(found, edit.move, named(found, edit.to).id);
  else assign(found, edit.leftover, LEFT);
}

function rename(found, edit) {
  Object.assign(named(found, edit.rename), { name: edit.to, sure: null });
}

function merge(found, edit) {
  const [kept, ...others] = edit.merge.map((name) => named(found, name));
  const gone = new Set(others.map((group) => group.id));
  for (let i = 0; i < found.labels.length; i++) if (gone.has(found.labels[i])) found.labels[i] = kept.id;
  for (const group of others) {
    kept.rest += group.rest;
    kept.exemplars = kept.exemplars.concat(group.exemplars);
  }
  found.groups = found.groups.filter((group) => !gone.has(group.id));
  Object.assign(kept, { name: edit.into, sure: null });
}

// What the parts hold is found by `multimap edit`; until then the group stays as it is, and its parts' names are taken.
function split(found, edit) {
  const group = named(found, edit.split);
  group.into = edit.into;
  for (let i = 1; i <= edit.into; i++) found.parts.push(`${edit.split} ${i}`);
}

function assign(found, names, label) {
  for (const name of names) found.labels[place.get(name)] = label;
}

// Of the aspect that is open, once after each edit: its groups with the images of each, best ones first.
const cache = new Map();
function current(index = state.aspect) {
  if (cache.has(index)) return cache.get(index);
  const aspect = data.aspects[index],
    found = begun(aspect);
  for (const edit of state.edits) if (edit.aspect === aspect.name) replayed(found, edit);
  const members = new Map(found.groups.map((group) => [group.id, []]));
  members.set(LEFT, []);
  for (const i of closest(index)) members.get(found.labels[i]).push(i);
  for (const group of found.groups) {
    const best = group.exemplars.filter((i) => found.labels[i] === group.id),
      first = new Set(best);
    group.images = best.concat(members.get(group.id).filter((i) => !first.has(i)));
    group.size = group.images.length + group.rest;
  }
  found.left = { images: members.get(LEFT), size: members.get(LEFT).length + found.rest };
  cache.set(index, found);
  return found;
}

const orders = new Map();
function closest(index) {
  if (!orders.has(index)) {
    const away = (i) => data.aspects[index].distances[i] ?? Infinity;
    orders.set(
      index,
      Array.from(data.names.keys()).sort((a, b) => away(a) - away(b) || a - b),
    );
  }
  return orders.get(index);
}

function leastSure(index) {
  const { sure } = data.aspects[index],
    found = current(index);
  const order = closest(index).slice().reverse();
  if (sure) order.sort((a, b) => sure[a] - sure[b]);
  return order.filter((i) => found.labels[i] !== LEFT);
}

function groupName(index, i) {
  const found = current(index),
    label = found.labels[i];
  return label === LEFT ? LEFT_NAME : found.groups.find((group) => group.id === label).name;
}

const far = data.aspects.map((aspect) => new Set(aspect.far));
const isFar = (i) => far[state.aspect].has(i);
const open = () => data.aspects[state.aspect];
const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

// A name without regard to case, blanks, or how its letters are composed, as `multimap edit` compares names.
const normal = (name) => name.normalize("NFC").toUpperCase().toLowerCase().trim().replace(/\s+/g, " ");

// What is wrong with a name for a group, "" where nothing is. own: names that the group may keep.
function wrongName(name, own) {
  const found = current();
  if (!name) return "Give a name.";
  if (name.length > LONGEST) return `Give a name of at most ${LONGEST} letters.`;
  if (name === LEFT_NAME) return "Images that are left over are called so: give another name.";
  if (/[\u0000-\u001f\u007f-\u009f]/.test(name)) return "A name is one line of text.";
  const taken = found.groups
    .map((group) => group.name)
    .filter((each) => !own.includes(each))
    .concat(found.parts);
  const other = taken.find((each) => normal(each) === normal(name));
  return other ? `There is a group called ${other}: merge both, or give another name.` : "";
}

function add(edit) {
  state.edits.push(edit);
  cache.clear();
}

function undo() {
  const edit = state.edits.pop();
  state.saved = Math.min(state.saved, state.edits.length);
  cache.clear();
  return edit;
}

const editsText = () => JSON.stringify({ edits: state.edits }, null, 1) + "\n";
