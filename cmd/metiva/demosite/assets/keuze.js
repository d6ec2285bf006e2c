// The buttons of the privacy page: each names a command of the snippet.
(function () {
  'use strict'
  window.visitor = window.visitor || function () { (window.visitor.q = window.visitor.q || []).push(arguments) }
  document.addEventListener('click', function (e) {
    var button = e.target.closest('button[data-visitor]')
    if (!button) return
    window.visitor.apply(null, JSON.parse(button.dataset.visitor))
    document.getElementById('keuze').hidden = button.dataset.visitor.indexOf('show') > 0
  })
})()
