//! Files that help a main model draft: they hold neither embedding nor output matrix nor tokenizer.
//!
//! | file | architecture key | becomes |
//! |---|---|---|
//! | [`mtp`] | `deepseek4_mtp_support` | the [`Draft`](crate::weights::Draft) block |
//! | [`dspark`] | `deepseek4-dspark` | [`Dspark`](dspark::Dspark) |

pub mod dspark;
pub mod mtp;
