"use strict";
// The result of the run, with the edits made on this page replayed on it. Edits name groups as they were called when
// each was made, just as `multimap edit` reads them.
const data = JSON.parse(document.getElementById("data").textContent);
const UNASSIGNED = -1;
const UNASSIGNED_NAME = "(unassigned)"; // as in labels.csv
const GUESS = 0.3; // the confidence of a name below which it is a guess, as in runs/messages.py
const LONGEST = 200; // characters of a name; MAX_NAME in editing/edits_file.py
const MOST_PARTS = 100; // groups that one group is split into; MAX_PARTS in editing/edits_file.py
const editable = data.run !== ""; // groups are edited in the run that found them, not where new images were added
const indices = new Map(data.names.map((name, i) => [name, i]));
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

// The result of an aspect before any edit. A group has `hidden` images that are not on this page.
function original(aspect) {
  const labels = Int32Array.from(aspect.labels);
  for (const i of aspect.leftover) labels[i] = UNASSIGNED;
  const groups = aspect.groups.map((group, id) => ({ ...group, id, into: 0, hidden: group.size }));
  let hidden = aspect.leftover_size;
  for (const label of labels) label === UNASSIGNED ? hidden-- : groups[label].hidden--;
  return { groups, labels, confidences: aspect.confidences?.slice(), hidden, reserved: [] };
}

const named = (result, name) => result.groups.find((group) => group.name === name);

// An image that is moved by hand has no confidence.
function assign(result, names, label) {
  for (const i of names.map((name) => indices.get(name))) {
    result.labels[i] = label;
    if (result.confidences) result.confidences[i] = null;
  }
}

const replays = {
  rename: (result, edit) => Object.assign(named(result, edit.rename), { name: edit.to, name_confidence: null }),
  merge(result, edit) {
    const [kept, ...others] = edit.merge.map((name) => named(result, name));
    const merged = new Set(others.map((group) => group.id));
    result.labels.forEach((label, i) => merged.has(label) && (result.labels[i] = kept.id));
    for (const group of others) {
      kept.hidden += group.hidden;
      kept.exemplars = kept.exemplars.concat(group.exemplars);
    }
    result.groups = result.groups.filter((group) => !merged.has(group.id));
    Object.assign(kept, { name: edit.into, name_confidence: null });
  },
  // `multimap edit` splits the group. Until then it stays as it is, and the names of its parts are reserved.
  split(result, edit) {
    named(result, edit.split).into = edit.into;
    for (let i = 1; i <= edit.into; i++) result.reserved.push(`${edit.split} ${i}`);
  },
  move: (result, edit) => assign(result, edit.move, named(result, edit.to).id),
  leftover: (result, edit) => assign(result, edit.leftover, UNASSIGNED),
};

function replay(result, index, kinds = Object.keys(replays)) {
  for (const edit of state.edits) {
    const kind = kinds.find((kind) => kind in edit);
    if (kind && edit.aspect === data.aspects[index].name) replays[kind](result, edit);
  }
  return result;
}

// The result of an aspect with its edits, computed once after each edit: groups with their images, typical ones first.
const cache = new Map();
function current(index = state.aspect) {
  if (cache.has(index)) return cache.get(index);
  const result = replay(original(data.aspects[index]), index);
  const members = new Map([UNASSIGNED, ...result.groups.map((group) => group.id)].map((id) => [id, []]));
  for (const i of closest(index)) members.get(result.labels[i]).push(i);
  for (const group of result.groups) {
    const exemplars = group.exemplars.filter((i) => result.labels[i] === group.id);
    group.images = [...new Set([...exemplars, ...members.get(group.id)])];
    group.size = group.images.length + group.hidden;
  }
  const images = members.get(UNASSIGNED);
  result.unassigned = { images, size: images.length + result.hidden };
  cache.set(index, result);
  return result;
}

// Images by their distance from the centroid.
const orders = new Map();
function closest(index) {
  if (!orders.has(index)) {
    const distance = (i) => data.aspects[index].distances[i] ?? Infinity;
    const order = Array.from(data.names.keys()).sort((a, b) => distance(a) - distance(b) || a - b);
    orders.set(index, order);
  }
  return orders.get(index);
}

// Images in groups by rising confidence, without those moved by hand; by falling distance where it is unknown.
function leastConfident(index) {
  const { confidences, labels } = current(index);
  const order = closest(index).filter((i) => labels[i] !== UNASSIGNED && confidences?.[i] !== null);
  order.reverse();
  if (confidences) order.sort((a, b) => confidences[a] - confidences[b]);
  return order;
}

function groupName(index, i) {
  const { groups, labels } = current(index);
  return labels[i] === UNASSIGNED ? UNASSIGNED_NAME : groups.find((group) => group.id === labels[i]).name;
}

const isEdited = () => state.edits.some((edit) => edit.aspect === open().name);
const outliers = data.aspects.map((aspect) => new Set(aspect.outliers));
const isOutlier = (i) => outliers[state.aspect].has(i);
const open = () => data.aspects[state.aspect];
const decimal = (number) => number.toLocaleString("en");
const count = (number, noun) => `${decimal(number)} ${noun}${number === 1 ? "" : "s"}`;

// A name without regard to case, blanks, or how its letters are composed, as `multimap edit` compares names.
const normal = (name) => name.normalize("NFC").toUpperCase().toLowerCase().trim().replace(/\s+/g, " ");

// A group with one of these names, undefined for none. replaced: names that are given up.
function taken(names, replaced = []) {
  const { groups, reserved } = current();
  const forms = new Set(names.map(normal));
  const other = groups.map((group) => group.name).filter((name) => !replaced.includes(name));
  return [...other, ...reserved].find((name) => forms.has(normal(name)));
}

// What is wrong with a new name of a group, "" where nothing is. replaced: names that the group may keep.
function wrongName(name, replaced) {
  if (!name) return "Enter a name.";
  if (name.length > LONGEST) return `Enter a name of at most ${LONGEST} characters.`;
  if (name === UNASSIGNED_NAME) return `${name} is the name of images without a group. Choose another name.`;
  if (/[\u0000-\u001f\u007f-\u009f]/.test(name)) return "Enter a name of one line.";
  const other = taken([name], replaced);
  return other ? `There is already a group called ${other}. Merge the two, or choose another name.` : "";
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
