//! Whether a domain can have mail at all.

use crate::dns::Dns;
use crate::dns::LookupError;
use crate::mail::address::Domain;
use crate::mail::limits::DNS_SET_TIME;

/// What DNS says of mail for a domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MailDomain {
    /// Somebody takes mail: an MX, or an address of the domain itself (RFC 5321 §5.1). An address literal too.
    Takes,
    /// The domain says that it takes and sends no mail (RFC 7505 §4.1 and §4.2).
    NullMx,
    /// There is no such domain.
    NoSuchName,
    /// The domain is there, and has no MX, no A and no AAAA.
    Nothing,
    /// It could not be found out now; why.
    Unknown(String),
}

impl Dns {
    /// Whether a domain takes mail, in [`DNS_SET_TIME`] at most.
    pub async fn mail_domain(&self, domain: &Domain) -> MailDomain {
        if domain.is_literal() {
            return MailDomain::Takes;
        }
        let found = tokio::time::timeout(DNS_SET_TIME, self.find_mail(domain.as_str())).await;
        match found.unwrap_or_else(|_| Err(LookupError::Temporary("no answer in time".to_owned()))) {
            Ok(found) => found,
            Err(LookupError::NoSuchName) => MailDomain::NoSuchName,
            Err(LookupError::Temporary(why)) => MailDomain::Unknown(why),
        }
    }

    async fn find_mail(&self, domain: &str) -> Result<MailDomain, LookupError> {
        let mx = self.mx(domain).await?;
        // RFC 7505 §3: a null MX stands alone; beside others it is a mistake and counts for nothing.
        if mx.iter().any(|(_, host)| !host.is_empty()) {
            return Ok(MailDomain::Takes);
        }
        if !mx.is_empty() {
            return Ok(MailDomain::NullMx);
        }
        let some = !self.ipv4(domain).await?.is_empty() || !self.ipv6(domain).await?.is_empty();
        Ok(if some { MailDomain::Takes } else { MailDomain::Nothing })
    }
}
