// Settings of MathJax. pymdownx.arithmatex writes formulas into elements of the class "arithmatex".
window.MathJax = {
  tex: { inlineMath: [["\\(", "\\)"]], displayMath: [["\\[", "\\]"]] },
  svg: { scale: 0.9 }, // capitals about as high as those of the text
  options: { ignoreHtmlClass: ".*|", processHtmlClass: "arithmatex" },
};

// MathJax typesets the first page when it has loaded. If the theme replaces the page without loading it again
// (instant navigation), the new page is typeset here.
document$.subscribe(() => {
  if (MathJax.typesetPromise) MathJax.startup.promise.then(() => MathJax.typesetPromise());
});
