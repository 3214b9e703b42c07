//! The flame graph: one SVG file that is a picture where scripts don't run and can be zoomed and searched where they do.

use std::fmt::Write as _;

use super::layout::{Block, blocks};
use crate::profile::{FrameKind, Profile};

const SCRIPT: &str = include_str!("flame.js");
/// Pixels.
const WIDE: f64 = 1180.0;
const EDGE: f64 = 10.0;
const ROW: usize = 17;
/// Above the boxes: title, what it is about, search.
const HEAD: usize = 64;
const FOOT: usize = 30;
/// A letter of the font at its size.
const GLYPH: f64 = 6.6;
/// Boxes thinner than a fifth of a pixel can't be seen: left out.
const THINNEST: f64 = 0.2;
const STYLE: &str = "text{font:11px ui-monospace,Menlo,Consolas,monospace;fill:#111;pointer-events:none}\
.t{font:16px system-ui,sans-serif}.s{fill:#555}.b{fill:#06c;cursor:pointer;pointer-events:all}\
.f{cursor:pointer}.f:hover rect{stroke:#000}.below{opacity:.5}.hit rect{fill:#e0f !important}";

pub(super) fn write(profile: &Profile, title: &str) -> String {
    let total = profile.total();
    let least = (total as f64 * THINNEST / WIDE).ceil().max(1.0) as u64;
    let blocks = blocks(profile, least);
    let rows = blocks.iter().map(|block| block.depth + 1).max().unwrap_or(1);
    let high = HEAD + rows * ROW + FOOT;
    let whole = WIDE + 2.0 * EDGE;
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {whole} {high}\" width=\"{whole}\" height=\"{high}\" \
         data-wide=\"{WIDE}\" data-total=\"{total}\">\n<style>{STYLE}</style>\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fffdf7\"/>\n"
    );
    let middle = whole / 2.0;
    let _ = writeln!(
        out,
        "<text class=\"t\" x=\"{middle}\" y=\"24\" text-anchor=\"middle\">{}</text>\n\
         <text class=\"s\" x=\"{middle}\" y=\"42\" text-anchor=\"middle\">{}</text>\n\
         <text id=\"back\" class=\"b\" x=\"{EDGE}\" y=\"24\" style=\"display:none\">all (Esc)</text>\n\
         <text id=\"find\" class=\"b\" x=\"{}\" y=\"24\" text-anchor=\"end\">search (Ctrl-F)</text>\n\
         <text id=\"said\" class=\"s\" x=\"{EDGE}\" y=\"{}\"></text>",
        escaped(title),
        escaped(&about(profile)),
        whole - EDGE,
        high - 10
    );
    for block in &blocks {
        one(&mut out, block, total, HEAD + (rows - 1 - block.depth) * ROW);
    }
    // No "]]>" stands in the script: a test looks.
    let _ = writeln!(out, "<script><![CDATA[\n{SCRIPT}]]></script>\n</svg>");
    out
}

fn one(out: &mut String, block: &Block<'_>, total: u64, top: usize) {
    let share = |samples: u64| samples as f64 / total as f64;
    let left = EDGE + share(block.from) * WIDE;
    let wide = share(block.samples) * WIDE;
    let name = escaped(&block.frame.name);
    let of = if block.frame.module.is_empty() {
        String::new()
    } else {
        format!(" · {}", escaped(&block.frame.module))
    };
    let _ = writeln!(
        out,
        "<g class=\"f\" data-x=\"{}\" data-w=\"{}\" data-d=\"{}\" data-n=\"{name}\"><title>{name}{of} · {} samples, {:.2}%</title>\
         <rect x=\"{left:.1}\" y=\"{top}\" width=\"{:.1}\" height=\"{}\" rx=\"1\" fill=\"{}\"/>\
         <text x=\"{:.1}\" y=\"{}\">{}</text></g>",
        block.from,
        block.samples,
        block.depth,
        block.samples,
        share(block.samples) * 100.0,
        (wide - 0.5).max(0.1),
        ROW - 1,
        colour(&block.frame.name, block.frame.kind),
        left + 3.0,
        top + 12,
        escaped(&cut(&block.frame.name, wide)),
    );
}

/// What was sampled and how well.
fn about(profile: &Profile) -> String {
    let meta = &profile.meta;
    let mut text = format!(
        "{} samples in {:.1} s at {} Hz ({})",
        meta.samples,
        meta.seconds,
        meta.hertz,
        meta.method.said()
    );
    if !meta.kernel {
        text.push_str(", without the kernel");
    }
    for (count, what) in [(meta.lost, "lost"), (meta.beyond, "beyond the bound")] {
        if count > 0 {
            let _ = write!(text, ", {count} {what}");
        }
    }
    text
}

/// As much of a name as its box has room for.
fn cut(name: &str, wide: f64) -> String {
    let room = ((wide - 4.0) / GLYPH).floor().max(0.0) as usize;
    if room < 3 {
        return String::new();
    }
    if name.chars().count() <= room {
        return name.to_owned();
    }
    let kept: String = name.chars().take(room - 2).collect();
    kept + ".."
}

/// A hue by what the frame is, a shade by its name: the same function looks the same in every graph.
fn colour(name: &str, kind: FrameKind) -> String {
    let hash = name
        .bytes()
        .fold(2_166_136_261_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(16_777_619));
    let (hue, span) = match kind {
        FrameKind::Native => (10, 40),
        FrameKind::Compiled => (90, 50),
        FrameKind::Kernel => (20, 8),
        FrameKind::State => (190, 40),
        FrameKind::Process | FrameKind::Unnamed => (40, 1),
    };
    let (saturation, light) = match kind {
        FrameKind::Process | FrameKind::Unnamed => (8, 82),
        FrameKind::Kernel => (75, 62 + (hash >> 16) % 8),
        _ => (80, 66 + (hash >> 16) % 12),
    };
    format!("hsl({},{saturation}%,{light}%)", hue + hash % span)
}

/// Safe inside XML text and attributes; characters that XML can't hold become `?`.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            c if c.is_control() || matches!(c, '\u{fffe}' | '\u{ffff}') => out.push('?'),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::tests::{meta, sample};

    #[test]
    fn names_cannot_leave_their_place() {
        let svg = write(&sample(), "<script>alert(1)</script>\u{1}");
        assert!(svg.contains("&lt;&amp;&quot;;&gt;"), "{svg}");
        assert!(svg.contains("&lt;script&gt;alert(1)&lt;/script&gt;?"));
        assert_eq!(svg.matches("<script>").count(), 1);
        assert!(!SCRIPT.contains("]]>"));
    }

    #[test]
    fn boxes_have_their_share() {
        let svg = write(&sample(), "t");
        let root = "data-x=\"0\" data-w=\"10\" data-d=\"0\" data-n=\"web\"><title>web · 10 samples, 100.00%</title>\
                    <rect x=\"10.0\" y=\"115\" width=\"1179.5\"";
        assert!(svg.contains(root), "{svg}");
        assert!(svg.contains("hot · /bin/x · 6 samples, 60.00%"));
        assert!(svg.contains("10 samples in 1.0 s at 99 Hz (perf, cpu-clock)"));
        assert_eq!(svg.matches("<g class=\"f\"").count(), 7);
        for tag in ["g", "rect", "text", "title", "svg", "style", "script"] {
            let ends = svg.matches(&format!("</{tag}>")).count();
            let open =
                svg.matches(&format!("<{tag} ")).count() + svg.matches(&format!("<{tag}>")).count();
            assert!(tag == "rect" || ends == open, "{tag}: {open} opened, {ends} closed");
        }
    }

    #[test]
    fn an_empty_profile_is_a_picture_too() {
        let svg = write(&Profile::new(meta()), "nothing");
        assert!(svg.ends_with("</svg>\n") && !svg.contains("NaN"));
    }

    #[test]
    fn long_names_are_cut_at_characters() {
        assert_eq!(cut("ein_überaus_langer", 50.0), "ein_..");
        assert_eq!(cut("kurz", 50.0), "kurz");
        assert_eq!(cut("kurz", 10.0), "");
    }
}
