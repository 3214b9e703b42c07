//! Text that becomes HTML: what is not written in this program is escaped, and there is no other way in.

/// A page as it grows.
#[derive(Debug, Default)]
pub(crate) struct Page(String);

impl Page {
    /// Markup, as it stands in this program.
    pub(crate) fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.0.push_str(markup);
        self
    }

    /// Text from anywhere, for between tags and within quotes.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        for c in text.chars() {
            match c {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                c => self.0.push(c),
            }
        }
        self
    }

    /// A number.
    pub(crate) fn number(&mut self, n: f64) -> &mut Self {
        let text = format!("{n:.1}");
        self.0.push_str(text.strip_suffix(".0").unwrap_or(&text));
        self
    }

    pub(crate) fn done(self) -> String {
        self.0
    }
}
