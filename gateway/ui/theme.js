// Before the first paint: the appearance chosen last time, or else the system's. No module, so that nothing flashes.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("consilium-theme");
  } catch {
    // Storage is closed to us; the system's appearance holds.
  }
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
})();
