//! An application inside the node's own process.

use super::application::Application;
use super::hosted::Hosted;
use crate::ports::{App, AppError, Connection};
use crate::types::abci::{Request, Response};
use std::sync::Arc;

/// Calls an [`Application`] directly. All four connections share its one mutex.
#[derive(Debug, Clone)]
pub struct LocalApp {
    hosted: Arc<Hosted>,
}

impl LocalApp {
    /// Takes the application in.
    pub fn new(app: impl Application) -> LocalApp {
        LocalApp { hosted: Arc::new(Hosted::new(app)) }
    }
}

impl App for LocalApp {
    async fn call(&self, _connection: Connection, requests: Vec<Request>) -> Result<Vec<Response>, AppError> {
        let mut answers = Vec::with_capacity(requests.len());
        for request in requests {
            let (method, height) = (request.method(), request.height());
            let answer = self.hosted.ask(request).await;
            answers.push(answer.map_err(|failure| AppError::Exception {
                method,
                height,
                message: failure.to_string(),
            })?);
        }
        Ok(answers)
    }
}
