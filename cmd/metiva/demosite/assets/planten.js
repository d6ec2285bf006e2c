// The catalogue without page loads: a click changes the address and the
// article that is shown, as a single-page application does.
(function () {
  'use strict'
  function show(slug) {
    document.querySelectorAll('[data-detail]').forEach(function (article) {
      article.hidden = article.dataset.detail !== slug
    })
    document.querySelectorAll('[data-plant]').forEach(function (link) {
      if (link.dataset.plant === slug) link.setAttribute('aria-current', 'true')
      else link.removeAttribute('aria-current')
    })
  }
  function slugOf(path) {
    return path.split('/')[2] || ''
  }
  document.getElementById('kiezer').addEventListener('click', function (e) {
    var link = e.target.closest('a[data-plant]')
    if (!link || e.ctrlKey || e.metaKey || e.shiftKey || e.button) return
    e.preventDefault()
    if (location.pathname !== link.pathname) history.pushState(null, '', link.pathname)
    show(link.dataset.plant)
  })
  addEventListener('popstate', function () {
    show(slugOf(location.pathname))
  })
})()
