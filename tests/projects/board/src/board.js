// Built by npm into dist/board.min.js; the comment goes, the names get short.
(function () {
  const aVeryLongNameThatNoBrowserNeeds = document.title;
  document.documentElement.dataset.board = aVeryLongNameThatNoBrowserNeeds;
})();
