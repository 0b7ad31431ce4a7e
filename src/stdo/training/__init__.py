"""The LightningDataModule, the LightningModule and the callbacks."""
