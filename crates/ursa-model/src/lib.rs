//! The resources that are not policies: parsing, violations with places, schemas.
