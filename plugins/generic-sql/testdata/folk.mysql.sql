-- What MySQL and MariaDB have differently: collations that fold, character sets that lack
-- letters, ranges, lengths in bytes, indexes of beginnings.
CREATE TABLE folk (
  id varchar(64) PRIMARY KEY, mail varchar(100) UNIQUE, name varchar(50) CHARACTER SET latin1, nick tinytext, age tinyint unsigned, since timestamp(3) NULL,
  code char(10), payload varbinary(4), flag bit(1), nr int AUTO_INCREMENT UNIQUE, `from` varchar(20) DEFAULT 'it''s\\here', UNIQUE heads (nick(3))
) ENGINE = InnoDB COLLATE utf8mb4_unicode_ci;
CREATE TABLE plain (id int PRIMARY KEY) ENGINE = MyISAM;
