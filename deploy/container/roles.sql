-- The roles of a ledger. An owner makes the tables, the service uses them, and a witness reads them. The passwords are
-- files: psql reads them, and no argument or variable has them.
\set owner_password `cat /run/secrets/owner_password`
\set app_password `cat /run/secrets/app_password`
\set witness_password `cat /run/secrets/witness_password`
CREATE ROLE sessions_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE sessions_app LOGIN PASSWORD :'app_password';
CREATE ROLE sessions_witness LOGIN PASSWORD :'witness_password';
REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME" TO sessions_owner, sessions_app, sessions_witness;
GRANT CREATE ON DATABASE :"DBNAME" TO sessions_owner;

-- What the owner makes, now and in later versions, the others may use.
ALTER DEFAULT PRIVILEGES FOR ROLE sessions_owner GRANT USAGE ON SCHEMAS TO sessions_app, sessions_witness;
ALTER DEFAULT PRIVILEGES FOR ROLE sessions_owner GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO sessions_app;
ALTER DEFAULT PRIVILEGES FOR ROLE sessions_owner GRANT SELECT ON TABLES TO sessions_witness;
ALTER DEFAULT PRIVILEGES FOR ROLE sessions_owner GRANT EXECUTE ON FUNCTIONS TO sessions_app;
