// A picture stands in the page once; where it is shown again it is copied as it comes near.
const near = new IntersectionObserver(entries => {
  for (const {isIntersecting, target} of entries) {
    if (!isIntersecting) continue;
    near.unobserve(target);
    target.src = document.getElementById(target.dataset.copy).src;
  }
}, {rootMargin: "800px"});
for (const image of document.querySelectorAll("img[data-copy]")) near.observe(image);

const enlarged = document.querySelector("dialog.enlarged");
document.addEventListener("click", event => {
  const frame = event.target.closest("button.frame");
  if (frame) {
    const [image, title, id] = enlarged.querySelectorAll("img, strong, code");
    const shown = frame.querySelector("img");
    image.src = shown.src || document.getElementById(shown.dataset.copy).src;
    image.alt = shown.alt;
    title.textContent = frame.dataset.title;
    id.textContent = frame.dataset.id;
    enlarged.showModal();
  } else if (event.target === enlarged) {
    enlarged.close();
  }
});
