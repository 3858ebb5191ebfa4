-- Since when people are seen in their groups, so that who was just added does not decide. No names.
CREATE TABLE memberships (
    oid     TEXT NOT NULL,             -- object id of the person in Entra
    grp     TEXT NOT NULL,             -- object id of the group
    since   BIGINT NOT NULL,          -- microseconds since 1970, UTC; 0: as long as the person is known
    PRIMARY KEY (oid, grp)
);
