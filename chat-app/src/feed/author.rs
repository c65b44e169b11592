//! The posts of one author, for the author's page: few ask for them, so the ids come from the database, one stretch of an
//! index, and the posts themselves from where feeds have them.

use super::{Feeds, PAGE, Post};
use crate::error::AppError;

impl Feeds {
    /// An author's newest posts, newest first.
    ///
    /// # Errors
    /// A database that does not answer.
    pub async fn of_author(&self, author: i64) -> Result<Vec<Post>, AppError> {
        self.metrics.database_reads.add(1);
        let ids = self.db.author_ids(author, PAGE as i64).await?;
        let (posts, _) = self.posts(&ids).await?;
        Ok(ids.iter().filter_map(|id| posts.get(id)).map(|post| post.as_ref().clone()).collect())
    }
}
