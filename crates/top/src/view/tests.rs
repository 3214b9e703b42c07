//! Screens as people see them, with and without colours, and of any size.

use proptest::prelude::*;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::style::Color;

use super::*;
use crate::model::Update;
use crate::model::tests::{NOW, line, model, press, step};

fn drawn(model: &mut Model, width: u16, height: u16, colour: bool) -> Terminal<TestBackend> {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model, Look { colour })).unwrap();
    terminal
}

fn text(terminal: &Terminal<TestBackend>) -> String {
    // The clock of a log is this machine's; midnight and noon look alike to a reader.
    terminal.backend().to_string()
}

/// A model with a log, whose clock is left out as it is this machine's.
fn with_log() -> Model {
    let mut model = model(40);
    press(&mut model, "jl");
    model.update(Update::LogBegins);
    for (n, slot) in [(1, 1), (2, 2), (3, 1)] {
        model.update(Update::Line(line(&format!("GET /things/{n} 200 in 3 ms"), slot)));
    }
    model
}

fn without_clock(text: &str) -> String {
    let is_clock = |part: &[u8]| {
        part.iter()
            .enumerate()
            .all(|(n, c)| if n % 3 == 2 { *c == b':' } else { c.is_ascii_digit() })
    };
    let mut bytes = text.as_bytes().to_vec();
    for at in 0..bytes.len().saturating_sub(8) {
        if is_clock(&bytes[at..at + 8]) {
            bytes[at..at + 8].copy_from_slice(b"HH:MM:SS");
        }
    }
    String::from_utf8(bytes).unwrap()
}

#[test]
fn screens_are_as_reviewed() {
    let show = |mut model: Model, (width, height): (u16, u16)| {
        without_clock(&text(&drawn(&mut model, width, height, true)))
    };
    insta::assert_snapshot!("plain-80x24", show(model(40), (80, 24)));
    insta::assert_snapshot!("plain-120x40", show(model(40), (120, 40)));
    insta::assert_snapshot!("wide-170x24", show(model(40), (170, 24)));
    insta::assert_snapshot!("log-80x24", show(with_log(), (80, 24)));
    insta::assert_snapshot!("small-40x10", show(with_log(), (40, 10)));
    let mut asked = model(40);
    press(&mut asked, "jx");
    insta::assert_snapshot!("asked-80x24", show(asked, (80, 24)));
    let mut filtered = model(40);
    press(&mut filtered, "/web");
    insta::assert_snapshot!("filter-80x24", show(filtered, (80, 24)));
    let mut helped = model(40);
    press(&mut helped, "?");
    insta::assert_snapshot!("help-80x24", show(helped, (80, 24)));
    let mut away = model(40);
    away.at(NOW + 60_000);
    away.update(Update::Away("no daemon serves /app/.ganger".into()));
    away.at(NOW + 72_000);
    insta::assert_snapshot!("away-80x24", show(away, (80, 24)));
    insta::assert_snapshot!("first-80x24", show(Model::default(), (80, 24)));
}

#[test]
fn without_colours_there_are_none_and_the_selected_line_is_still_seen() {
    let mut model = with_log();
    let terminal = drawn(&mut model, 100, 30, false);
    let cells = &terminal.backend().buffer().content;
    assert!(cells.iter().all(|cell| (cell.fg, cell.bg) == (Color::Reset, Color::Reset)));
    let reversed = ratatui::style::Modifier::REVERSED;
    assert_eq!(cells.iter().filter(|cell| cell.modifier.contains(reversed)).count(), 100);
    let coloured = drawn(&mut model, 100, 30, true);
    assert!(coloured.backend().buffer().content.iter().any(|cell| cell.fg == Color::Green));
}

#[test]
fn the_selected_line_is_in_sight_on_a_low_screen() {
    let mut model = model(3);
    press(&mut model, "G");
    assert!(text(&drawn(&mut model, 80, 8, true)).contains("└ #2"));
    press(&mut model, "g");
    assert!(text(&drawn(&mut model, 80, 8, true)).contains(" db "));
}

proptest! {
    /// Any screen, any model, any key: no panic, nothing that moves the cursor, the question is always seen.
    #[test]
    fn any_size_does(
        steps in proptest::collection::vec(step(), 0..24),
        width in 0_u16..180,
        height in 0_u16..60,
    ) {
        let mut model = Model::default();
        model.at(NOW);
        for step in steps {
            let _asked = step.take(&mut model);
            let terminal = drawn(&mut model, width, height, true);
            let cells = &terminal.backend().buffer().content;
            prop_assert!(cells.iter().all(|cell| !cell.symbol().chars().any(char::is_control)));
            if let Mode::Confirm(_) = &model.mode && width >= 60 && height >= LEAST.1 {
                let seen = text(&terminal);
                prop_assert!(seen.contains("? y does it") || seen.contains('…') || width < 120, "{}", seen);
            }
        }
    }
}
