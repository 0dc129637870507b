//! How a line is written: whatever is in it stays in it.
//!
//! A peer chooses its name, an address, the words of an error. Line ends in them would forge lines of ours, and
//! escape sequences would move the terminal of whoever reads (threat R14, CVE-2018-20586). So every control
//! character, and those that turn the direction of writing, is written as its number; and a line has an end.

use std::fmt::{self, Debug, Write};

use tracing::{
    Event, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    field::RecordFields,
    fmt::{
        FmtContext, FormatEvent, FormatFields,
        format::{Format, Full, Writer},
    },
    registry::LookupSpan,
};

/// The longest line, in bytes; what is beyond is cut off.
pub const MAX_LINE_BYTES: usize = 4_096;

/// What follows a line that was cut.
const CUT: &str = "... (cut)";
/// Ends all colours of a terminal.
const COLOURS_OFF: &str = "\u{1b}[0m";

/// Writes fields as `name=value`, the message bare, with control characters as their numbers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Escaped;

impl<'writer> FormatFields<'writer> for Escaped {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut visitor = Fields { writer: &mut writer, is_first: true, outcome: Ok(()) };
        fields.record(&mut visitor);
        visitor.outcome
    }
}

struct Fields<'a> {
    writer: &'a mut dyn Write,
    is_first: bool,
    outcome: fmt::Result,
}

impl Fields<'_> {
    fn write(&mut self, field: &Field, value: &dyn Debug) -> fmt::Result {
        if !std::mem::take(&mut self.is_first) {
            self.writer.write_char(' ')?;
        }
        if field.name() != "message" {
            write!(self.writer, "{}=", field.name())?;
        }
        write!(Escaping(self.writer), "{value:?}")
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if self.outcome.is_ok() {
            self.outcome = self.write(field, value);
        }
    }
}

/// Writes text with control characters as their numbers.
struct Escaping<'a>(&'a mut dyn Write);

impl Write for Escaping<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            if is_dangerous(character) {
                write!(self.0, "{}", character.escape_default())?;
            } else {
                self.0.write_char(character)?;
            }
        }
        Ok(())
    }
}

/// Whether a character does more than stand in its line.
fn is_dangerous(character: char) -> bool {
    // Control characters; line and paragraph ends; what turns the direction of writing.
    character.is_control()
        || matches!(character, '\u{2028}' | '\u{2029}' | '\u{61c}' | '\u{200e}' | '\u{200f}')
        || matches!(character, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The usual line, cut where it is too long.
#[derive(Debug)]
pub struct ShortLines {
    usual: Format<Full>,
    colours: bool,
}

impl ShortLines {
    /// Lines with colours or without.
    #[must_use]
    pub fn new(colours: bool) -> Self {
        Self { usual: Format::default().with_target(false).with_ansi(colours), colours }
    }
}

impl<S, N> FormatEvent<S, N> for ShortLines
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut line = String::new();
        self.usual.format_event(context, Writer::new(&mut line), event)?;
        if line.len() <= MAX_LINE_BYTES {
            return writer.write_str(&line);
        }
        let end = (0..=MAX_LINE_BYTES).rev().find(|end| line.is_char_boundary(*end)).unwrap_or(0);
        writer.write_str(&line[..end])?;
        writer.write_str(if self.colours { COLOURS_OFF } else { "" })?;
        writeln!(writer, "{CUT}")
    }
}

#[cfg(test)]
mod tests {
    use std::{io, sync::Arc};

    use parking_lot::Mutex;
    use tracing_subscriber::{fmt, fmt::MakeWriter, layer::SubscriberExt};

    use super::*;

    /// Keeps what is written.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Kept {
        type Writer = Self;
        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    fn written(log: impl FnOnce()) -> String {
        let kept = Kept::default();
        let layer = fmt::layer()
            .fmt_fields(Escaped)
            .event_format(ShortLines::new(false))
            .with_ansi(false)
            .with_writer(kept.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), log);
        String::from_utf8(kept.0.lock().clone()).expect("text")
    }

    #[test]
    fn r14_what_a_peer_says_stays_in_its_line() {
        let said = "name\r\n2026-01-01T00:00:00Z  INFO all is well\u{1b}[2J\u{9b}31m\u{202e}\u{7}\u{2028}\0";
        let line = written(|| {
            tracing::warn!(agent = %said, quoted = said, debug = ?said, number = 7, "it says {said}");
        });
        assert_eq!(line.matches('\n').count(), 1, "{line:?}");
        assert!(!line.trim_end().chars().any(is_dangerous), "{line:?}");
        assert_eq!(line.matches("all is well").count(), 4, "{line}");
        assert!(line.contains("number=7") && line.contains("agent=name\\r\\n"), "{line}");
        // Spans that lines stand in are written by the same rule.
        let line = written(|| {
            let span = tracing::info_span!("greeting", agent = %said);
            span.in_scope(|| tracing::info!("heard"));
        });
        assert!(!line.trim_end().chars().any(is_dangerous), "{line:?}");
    }

    #[test]
    fn p23_a_line_has_an_end() {
        let long = "ä".repeat(100_000);
        let line = written(|| tracing::info!(agent = %long, "heard"));
        assert!(line.len() <= MAX_LINE_BYTES + CUT.len() + 1 && line.ends_with("(cut)\n"), "{}", line.len());
    }
}
