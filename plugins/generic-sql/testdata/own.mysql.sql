-- The same application as in own.sql, as somebody would have it on MariaDB.
CREATE TABLE People (
  Id uuid PRIMARY KEY,
  mail varchar(255) COLLATE utf8mb4_general_ci UNIQUE,
  `Full "Name"` varchar(20) NOT NULL,
  name_length int AS (char_length(`Full "Name"`)) STORED,
  phone varchar(30) CHECK (phone RLIKE '^[+][0-9]+$'),
  state enum('active', 'locked') NOT NULL DEFAULT 'active',
  joined datetime(3) NOT NULL DEFAULT current_timestamp(3),
  extra json,
  nick varchar(50),
  folded varchar(50) AS (lower(nick)) STORED UNIQUE,
  active_phone varchar(30) AS (CASE WHEN state = 'active' THEN phone END) STORED UNIQUE,
  row_no bigint AUTO_INCREMENT UNIQUE,
  CHECK (name_length <> 13)
);
CREATE TABLE secrets (person uuid PRIMARY KEY, hash text NOT NULL, algorithm text, FOREIGN KEY (person) REFERENCES People (Id) ON DELETE CASCADE);
CREATE TABLE roles (name varchar(50) COLLATE utf8mb4_bin PRIMARY KEY);
INSERT INTO roles VALUES ('admin'), ('editor');
CREATE TABLE person_roles (
  person uuid, role varchar(50) COLLATE utf8mb4_bin, granted datetime DEFAULT current_timestamp, note text, PRIMARY KEY (person, role),
  FOREIGN KEY (person) REFERENCES People (Id) ON DELETE CASCADE, FOREIGN KEY (role) REFERENCES roles (name)
);
CREATE TABLE links (
  id bigint AUTO_INCREMENT PRIMARY KEY, person uuid NOT NULL, provider varchar(50) COLLATE utf8mb4_bin, subject varchar(200) COLLATE utf8mb4_bin, UNIQUE (provider, subject),
  FOREIGN KEY (person) REFERENCES People (Id)
);
CREATE TABLE orders (id int AUTO_INCREMENT PRIMARY KEY, buyer uuid, FOREIGN KEY (buyer) REFERENCES People (Id) ON DELETE SET NULL);
CREATE TRIGGER refuse_new BEFORE INSERT ON People FOR EACH ROW BEGIN
  IF NEW.mail = 'trigger@example.com' THEN SIGNAL SQLSTATE '45000' SET MESSAGE_TEXT = 'not this one'; END IF;
  SET NEW.`Full "Name"` = upper(NEW.`Full "Name"`);
END;
CREATE TRIGGER refuse_changed BEFORE UPDATE ON People FOR EACH ROW SET NEW.`Full "Name"` = upper(NEW.`Full "Name"`);
