//! A warehouse whose steps a [`Cluster`] computes.

use std::sync::Arc;

use datafusion::catalog::TableProvider;
use datafusion::error::Result as EngineResult;
use datafusion::logical_expr::LogicalPlan;
use datafusion::prelude::DataFrame;
use deltalake::logstore::store_for;
use deltalake::{DeltaTable, DeltaTableError};
use object_store::ObjectStore;

use super::Warehouse;
use crate::ballista::Location;
use crate::ballista::{Cluster, ParquetFiles, Staging, check_source};
use crate::error::{Error, Result};
use crate::source::Source;

/// Who computes the steps, and how that gets to the rows.
#[derive(Debug)]
pub(super) struct OnCluster {
    cluster: Cluster,
    staging: Staging,
    location: Location,
    /// The store that the warehouse is in, from the root of the store, as the paths of files are.
    store: Arc<dyn ObjectStore>,
}

impl Warehouse {
    /// The same warehouse, whose steps a cluster computes.
    ///
    /// Its folder has to be there, under the same path, on each machine of the cluster. Tables are written,
    /// audited and published by this process, as without a cluster.
    ///
    /// # Errors
    ///
    /// [`Error::InvalidWarehouse`] if executors cannot see it: it is in the memory of this process, or in a
    /// store that only this process knows.
    ///
    /// # Examples
    ///
    /// ```
    /// use reco_transform::Warehouse;
    /// use reco_transform::ballista::Cluster;
    ///
    /// let cluster = Cluster::at("localhost:50050")?;
    /// let refused = Warehouse::in_memory().on_cluster(cluster).unwrap_err();
    /// assert_eq!(refused.to_string(), "no warehouse can be kept at `memory://warehouse`");
    /// # Ok::<(), reco_transform::Error>(())
    /// ```
    pub fn on_cluster(self, cluster: Cluster) -> Result<Self> {
        let invalid = |source: reco_core::BoxError| Error::InvalidWarehouse {
            location: self.root.clone(),
            source,
        };
        if self.store.is_some() {
            let reason = "executors cannot see it; a warehouse at an address, they can";
            return Err(invalid(reason.into()));
        }
        let location = Location::parse(&self.root).map_err(|error| invalid(error.into()))?;
        let no_options = std::iter::empty::<(String, String)>();
        let store = store_for(location.store().as_ref(), no_options);
        let store = store.map_err(|error| invalid(error.into()))?;
        let cluster = OnCluster {
            staging: Staging::new(Arc::clone(&self.files), location.clone()),
            cluster,
            location,
            store,
        };
        Ok(Self {
            cluster: Some(Arc::new(cluster)),
            ..self
        })
    }

    /// Has the cluster compute a frame, if there is one.
    pub(crate) async fn place(&self, step: &str, frame: DataFrame) -> EngineResult<DataFrame> {
        match &self.cluster {
            Some(on) => Box::pin(on.cluster.place(step, frame, &on.staging)).await,
            None => Ok(frame),
        }
    }

    /// Refuses sources and steps that the cluster cannot compute, and a cluster that is not there.
    pub(crate) async fn check_placement(
        &self,
        sources: Vec<(&str, &Source)>,
        steps: Vec<(String, LogicalPlan)>,
    ) -> Result<()> {
        let Some(on) = &self.cluster else {
            return Ok(());
        };
        for (table, source) in sources {
            check_source(table, &**source.table(), &on.cluster).await?;
        }
        for (step, plan) in steps {
            let session = self.session().state();
            Box::pin(on.cluster.check(&step, &plan, session)).await?;
        }
        on.cluster.is_there().await
    }

    pub(crate) const fn is_on_cluster(&self) -> bool {
        self.cluster.is_some()
    }

    /// A Delta table as whoever knows its files reads it, on a cluster and if that is possible.
    pub(super) fn files_for_executors(
        &self,
        table: &DeltaTable,
    ) -> Result<Option<Arc<dyn TableProvider>>, DeltaTableError> {
        let Some(on) = &self.cluster else {
            return Ok(None);
        };
        let store = Arc::clone(&on.store);
        self.runtime
            .register_object_store(on.location.store().as_ref(), store);
        let files = ParquetFiles::of_delta(table)?;
        Ok(files.map(|files| Arc::new(files) as Arc<dyn TableProvider>))
    }
}
