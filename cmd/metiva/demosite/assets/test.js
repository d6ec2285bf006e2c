// What the buttons of the test pages do, and the form that is sent by script.
(function () {
  'use strict'
  window.visitor = window.visitor || function () { (window.visitor.q = window.visitor.q || []).push(arguments) }
  document.addEventListener('click', function (e) {
    var button = e.target.closest('button[data-visitor],button[data-push],button[data-replace]')
    if (!button) return
    var d = button.dataset
    if (d.visitor) window.visitor.apply(null, JSON.parse(d.visitor))
    if (d.push) history.pushState(null, '', d.push)
    if (d.replace) history.replaceState(null, '', d.replace)
  })
  var form = document.getElementById('by-script')
  if (!form) return
  form.addEventListener('submit', function (e) {
    e.preventDefault()
    var values = new FormData(form)
    fetch(form.action, { method: 'POST', body: new URLSearchParams(values) }).then(function () {
      document.getElementById('sent').textContent = 'Sent.'
    })
    if (!form.elements.agree.checked) return
    window.visitor('capture', {
      form: 'contact', text_version: 'demo-contact-2-en', language: 'en',
      fields: { email: values.get('email'), message: values.get('message') },
    })
  })
})()
