// Before anything is painted: the theme that was chosen, if one was.
{
  let theme = null;
  try {
    theme = JSON.parse(localStorage.getItem('ds4.settings') ?? '{}').theme;
  } catch {
    // Settings that cannot be read are no settings.
  }
  if (theme === 'light' || theme === 'dark') document.documentElement.dataset.theme = theme;
}
