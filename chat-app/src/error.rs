//! What may go wrong, as the user gets to see it.

use std::fmt;

/// An answer other than the one that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AppError {
    /// The request cannot be understood or breaks a rule; the text says which.
    Invalid(String),
    /// More was sent than is taken.
    TooLarge(String),
    /// Nobody is signed in.
    SignedOut,
    /// It comes from another site, or is not the user's to change.
    Forbidden(String),
    /// There is no such room, message or page.
    NotFound(String),
    /// The user has sent too much; see [`crate::limit`].
    Limited(crate::limit::Refusal),
    /// The database does not answer.
    Unavailable(String),
}

impl AppError {
    /// A rule that the request breaks.
    pub fn invalid(text: impl Into<String>) -> Self {
        AppError::Invalid(text.into())
    }
}

impl fmt::Display for AppError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AppError::Invalid(text)
            | AppError::TooLarge(text)
            | AppError::Forbidden(text)
            | AppError::NotFound(text)
            | AppError::Unavailable(text) => f.write_str(text),
            AppError::SignedOut => f.write_str("sign in first"),
            AppError::Limited(refusal) => {
                write!(f, "too many requests; try again in {} s", refusal.retry_after_s())
            }
        }
    }
}

impl std::error::Error for AppError {}

impl From<sqlx::Error> for AppError {
    fn from(error: sqlx::Error) -> Self {
        tracing::error!(%error, "database");
        AppError::Unavailable("the database does not answer".into())
    }
}
