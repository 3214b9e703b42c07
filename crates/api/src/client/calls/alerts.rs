//! Alerts, silences and anomalies.

use super::{Client, escape, query_text};
use crate::{
    AlertShow, AlertTestRequest, AlertTested, Alerts, Anomalies, AnomaliesQuery, ApiError,
    SilenceRequest, Silences, VerbAnswer,
};

impl Client {
    /// `GET /alerts`: rules and their alerts.
    pub async fn alerts(&self) -> Result<Alerts, ApiError> {
        self.get("/alerts".into()).await
    }

    /// `GET /alerts/{name}`: a rule and its alerts with all that is known.
    pub async fn alert(&self, name: &str) -> Result<AlertShow, ApiError> {
        self.get(format!("/alerts/{}", escape(name))).await
    }

    /// `POST /alerts/{name}/test`: what the rule would have said.
    pub async fn test_alert(
        &self,
        name: &str,
        request: &AlertTestRequest,
    ) -> Result<AlertTested, ApiError> {
        self.verb(format!("/alerts/{}/test", escape(name)), request, true).await
    }

    /// `GET /anomalies`.
    pub async fn anomalies(&self, query: &AnomaliesQuery) -> Result<Anomalies, ApiError> {
        self.get(format!("/anomalies{}", query_text(query)?)).await
    }

    /// `GET /silences`.
    pub async fn silences(&self) -> Result<Silences, ApiError> {
        self.get("/silences".into()).await
    }

    /// `POST /silences`: sets one; its id comes back.
    pub async fn silence(&self, request: &SilenceRequest) -> Result<VerbAnswer, ApiError> {
        self.verb("/silences".into(), request, false).await
    }

    /// `POST /silences/{id}/expire`.
    pub async fn expire_silence(&self, id: &str) -> Result<VerbAnswer, ApiError> {
        self.verb(format!("/silences/{}/expire", escape(id)), &(), true).await
    }
}
