// Run before MLflow's own page, and on the index. COLOURS, by experiment: the colour of every group that its saved views make.
"use strict";
(() => {
  if (location.pathname === "/" && location.hash.startsWith("#/")) {
    location.replace("mlflow" + location.search + location.hash); // a link into MLflow's UI as it is elsewhere
    return;
  }
  const unlessChosen = (key, value) => {
    if (localStorage.getItem(key) === null) localStorage.setItem(key, value);
  };
  try {
    unlessChosen("mlflow.workflowType_v1", '"machine_learning"'); // or it opens on another product
    unlessChosen("mlflow.assistant.fab.autoOpenedOnFirstLoad_v1", "true"); // or a panel covers a third of it
    const experiment = /^#\/experiments\/(\w+)/.exec(location.hash);
    const known = JSON.parse(localStorage.getItem("experimentRunColors") || "{}");
    const own = experiment ? COLOURS[experiment[1]] : {};
    localStorage.setItem("experimentRunColors", JSON.stringify({ ...known, ...own }));
  } catch (error) {
    console.warn("the browser keeps nothing for this page:", error); // in a private window of some
  }
})();
