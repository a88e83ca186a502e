"use strict";

for (const figure of document.querySelectorAll(".compare")) {
  const slider = figure.querySelector("input");
  const button = figure.querySelector("button");

  const showOriginal = (shown) => {
    figure.classList.toggle("show-gt", shown);
    button.setAttribute("aria-pressed", String(shown));
  };
  const moveTo = (share) => {
    slider.value = share;
    figure.style.setProperty("--share", slider.value + "%");
  };

  moveTo(slider.value);
  slider.addEventListener("input", () => moveTo(slider.value));
  button.addEventListener("click", () => showOriginal(!figure.classList.contains("show-gt")));

  const stack = figure.querySelector(".stack");
  stack.addEventListener("pointermove", (event) => {
    if (event.buttons === 1 || event.pointerType === "mouse") {
      const box = stack.getBoundingClientRect();
      moveTo(Math.round((100 * (event.clientX - box.left)) / box.width));
    }
  });

  // The key works on the figure that has the focus, else on the one under the pointer.
  const isMeant = () => figure.matches(":focus-within") || (!document.querySelector(".compare:focus-within") && figure.matches(":hover"));
  document.addEventListener("keydown", (event) => {
    const plain = !event.ctrlKey && !event.metaKey && !event.altKey;
    if (plain && !event.repeat && event.key.toLowerCase() === "g" && isMeant()) {
      showOriginal(true);
    }
  });
  document.addEventListener("keyup", (event) => {
    if (event.key.toLowerCase() === "g") {
      showOriginal(false);
    }
  });
}
