//! Comma-separated values: first the columns of the original program, then ours.

use std::fmt::Write;

use super::report::{Report, Series};

const COLUMNS: &str = "ctx_tokens,prefill_tokens,prefill_tps,gen_tokens,gen_tps,kvcache_bytes,\
    sessions,prefill_tps_min,prefill_tps_max,gen_tps_min,gen_tps_max,bandwidth_share";

/// The report's points.
pub(super) fn render(report: &Report) -> String {
    let mut text = format!("{COLUMNS}\n");
    for point in &report.points {
        let share = point.bandwidth_share(report.environment.bandwidth);
        let share = share.map_or_else(String::new, |share| format!("{share:.4}"));
        let [prefill, prefill_least, prefill_most] = numbers(&point.prefill);
        let [decode, decode_least, decode_most] = numbers(&point.decode);
        let _ = writeln!(
            text,
            "{},{},{prefill},{},{decode},{},{},{prefill_least},{prefill_most},{decode_least},\
             {decode_most},{share}",
            point.context, point.prefilled, point.generated, point.kv_bytes, point.sessions
        );
    }
    text
}

/// Median, least and greatest; empty where nothing was measured.
fn numbers(series: &Series) -> [String; 3] {
    let (Some(median), Some((least, most))) = (series.median(), series.range()) else {
        return Default::default();
    };
    [median, least, most].map(|value| format!("{value:.2}"))
}
