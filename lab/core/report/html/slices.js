"use strict";
// While the page is read, the grid's rows are laid out in slices, one a frame: all at once is a stutter where there are many kernels.
// The page's script, at its end, goes on from there.
{
  document.documentElement.classList.add("slices");
  const next = () => {
    if (!document.querySelector(".controls").hidden) return;
    const later = document.querySelectorAll("#grid tbody tr:nth-child(n+17):not(.shown)");
    [...later].slice(0, 16).forEach((row) => row.classList.add("shown"));
    requestAnimationFrame(next);
  };
  requestAnimationFrame(next);
}
