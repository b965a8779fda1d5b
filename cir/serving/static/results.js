// What was found: one grid of photos, or two beside each other, and where the true targets rank.

import {count, element, frame, named, percent, picture} from "./view.js";

function taste(word, image, label, onclick) {
  return element("button", {type: "button", class: "taste-button", "aria-label": `${label}: ${named(image)}`, onclick}, word);
}

function found(result, hits, reference, act) {
  const {image, rank, score, copies} = result;
  const hit = hits.has(image.id);
  const role = hit ? " · target" : image.id === reference ? " · reference" : "";
  return element("li", {class: hit ? "hit" : null, "data-id": image.id},
    frame(image, 240, {label: `Go on from number ${rank}: ${named(image)}`, onclick: () => act.refine(image)}),
    element("div", {class: "said"},
      element("span", {class: "score", title: "cosine similarity"}, percent(score)),
      element("span", {class: "note"}, `${rank}${role}`),
      element("span", {class: "named"}, named(image)),
      copies.length ? element("span", {}, `and ${count(copies.length, "near-copy").replace("copys", "copies")}`) : null),
    element("div", {class: "tastes"},
      taste("+ more", image, "More like this", () => act.taste("like", image)),
      taste("− less", image, "Less like this", () => act.taste("unlike", image))));
}

const RULES = {kept: "the reference has a rank as well", removed: "the reference has none"};

function targets(answer, {ranked, reference_rule: rule}) {
  const shown = answer.targets.slice(0, 8);
  const said = shown.length === 1 ? "True target" : `True targets, ${count(answer.targets.length, "photo")}`;
  return element("div", {class: "card targets"},
    element("ul", {}, ...shown.map(({image, rank}) => element("li", {},
      element("div", {class: "frame"}, picture(image, 120, named(image))),
      `rank ${rank.toLocaleString("en")}`))),
    element("div", {},
      element("p", {}, `${said}: best rank ${Math.min(...answer.targets.map(one => one.rank)).toLocaleString("en")} of ${ranked.toLocaleString("en")}`),
      element("p", {class: "quiet"}, `Among the photos of its category and split, as cir evaluate ranks them: ${RULES[rule]}.`)));
}

function answerOf(answer, title, response, act) {
  const hits = new Set((answer.targets || []).map(one => one.image.id));
  const heading = `heading-${answer.retriever}`;
  return element("section", {class: "answer", "aria-labelledby": heading},
    element("h2", {id: heading}, title),
    answer.targets?.length ? targets(answer, response) : null,
    element("ul", {class: "photos"}, ...answer.results.map(result => found(result, hits, response.query?.reference.id, act))));
}

/** Shows the answers to a search, or to a query of the dataset. */
export function show(place, response, titles, act) {
  const {answers} = response;
  place.classList.toggle("beside", answers.length > 1);
  place.replaceChildren(...answers.map(one => answerOf(one, titles.get(one.retriever) || one.retriever, response, act)));
}
