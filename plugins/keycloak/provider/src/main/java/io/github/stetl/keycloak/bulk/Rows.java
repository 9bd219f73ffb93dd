package io.github.stetl.keycloak.bulk;

import java.sql.Connection;
import java.sql.PreparedStatement;
import java.sql.SQLException;
import java.sql.Types;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Set;

import jakarta.persistence.EntityManager;
import jakarta.persistence.metamodel.Attribute;

import org.hibernate.Session;
import org.jboss.logging.Logger;
import org.keycloak.common.util.Time;
import org.keycloak.connections.jpa.util.JpaUtils;
import org.keycloak.models.jpa.entities.CredentialEntity;
import org.keycloak.models.jpa.entities.FederatedIdentityEntity;
import org.keycloak.models.jpa.entities.UserAttributeEntity;
import org.keycloak.models.jpa.entities.UserEntity;
import org.keycloak.models.jpa.entities.UserGroupMembershipEntity;
import org.keycloak.models.jpa.entities.UserRequiredActionEntity;
import org.keycloak.models.jpa.entities.UserRoleMappingEntity;

/**
 * Writes new rows of users with one statement for many, past the session, which keeps, sorts and compares each of them. Only
 * where {@link Direct#known} says that every column is known.
 */
final class Rows {

    private static final Logger LOG = Logger.getLogger(Rows.class);

    /** Databases that take the rows of many in one statement. */
    private static final Set<String> MANY = Set.of("h2", "postgresql", "mysql", "mariadb");

    /** Rows of one statement. */
    private static final int MOST = 50;

    private static volatile boolean unknown;

    private static final class Table {

        private final String name;
        private final String[] columns;
        private final List<Object[]> rows = new ArrayList<>();

        Table(String name, String... columns) {
            this.name = name;
            this.columns = columns;
        }

        void write(Connection connection, boolean many) throws SQLException {
            int each = many ? Math.min(rows.size(), MOST) : 1;
            int first = 0;
            while (first < rows.size()) {
                int together = Math.min(each, rows.size() - first);
                int statements = (rows.size() - first) / together; // of this size; what is left takes another
                try (PreparedStatement insert = connection.prepareStatement(sql(together))) {
                    for (int n = 0; n < statements; n++) {
                        int at = 1;
                        for (Object[] row : rows.subList(first, first + together)) {
                            for (Object value : row) {
                                set(insert, at++, value);
                            }
                        }
                        insert.addBatch();
                        first += together;
                    }
                    insert.executeBatch();
                }
            }
            rows.clear();
        }

        private String sql(int together) {
            String[] marks = new String[columns.length];
            Arrays.fill(marks, "?");
            String[] values = new String[together];
            Arrays.fill(values, "(" + String.join(", ", marks) + ")");
            return "insert into " + name + " (" + String.join(", ", columns) + ") values " + String.join(", ", values);
        }

        private static void set(PreparedStatement statement, int at, Object value) throws SQLException {
            if (value == null) {
                statement.setNull(at, Types.VARCHAR);
            } else if (value instanceof Boolean) {
                statement.setBoolean(at, (Boolean) value);
            } else if (value instanceof Long) {
                statement.setLong(at, (Long) value);
            } else if (value instanceof Integer) {
                statement.setInt(at, (Integer) value);
            } else {
                statement.setString(at, (String) value);
            }
        }
    }

    private final EntityManager em;
    private final boolean stamped;
    private final boolean versioned;
    private final Table users;
    private final Table attributes;
    private final Table actions;
    private final Table credentials;
    private final Table links;
    private final Table roles;
    private final Table groups;

    private Rows(EntityManager em) {
        this.em = em;
        this.stamped = has(UserEntity.class, "lastModifiedTimestamp");
        this.versioned = has(CredentialEntity.class, "version");
        List<String> ofUsers = new ArrayList<>(List.of("ID", "USERNAME", "FIRST_NAME", "LAST_NAME", "CREATED_TIMESTAMP", "EMAIL", "ENABLED",
                "EMAIL_VERIFIED", "EMAIL_CONSTRAINT", "REALM_ID", "NOT_BEFORE"));
        if (stamped) {
            ofUsers.add("LAST_MODIFIED_TIMESTAMP");
        }
        List<String> ofCredentials = new ArrayList<>(List.of("ID", "TYPE", "USER_LABEL", "CREATED_DATE", "USER_ID", "SECRET_DATA", "CREDENTIAL_DATA",
                "PRIORITY"));
        if (versioned) {
            ofCredentials.add("VERSION");
        }
        this.users = table("USER_ENTITY", ofUsers.toArray(new String[0]));
        this.attributes = table("USER_ATTRIBUTE", "ID", "USER_ID", "NAME", "VALUE");
        this.actions = table("USER_REQUIRED_ACTION", "USER_ID", "REQUIRED_ACTION");
        this.credentials = table("CREDENTIAL", ofCredentials.toArray(new String[0]));
        this.links = table("FEDERATED_IDENTITY", "USER_ID", "REALM_ID", "IDENTITY_PROVIDER", "FEDERATED_USER_ID", "FEDERATED_USERNAME");
        this.roles = table("USER_ROLE_MAPPING", "USER_ID", "ROLE_ID");
        this.groups = table("USER_GROUP_MEMBERSHIP", "USER_ID", "GROUP_ID", "MEMBERSHIP_TYPE");
    }

    /** Null where rows were refused that had nothing wrong with them. */
    static Rows on(EntityManager em) {
        return unknown ? null : new Rows(em);
    }

    /** Leaves all rows to the session, if the database does not know a table or a column. */
    static void note(Throwable failure) {
        for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
            if (cause.getClass().getSimpleName().equals("SQLGrammarException")) {
                LOG.warnf("rows are written by the session, which is slower: %s", cause);
                unknown = true;
                return;
            }
        }
    }

    private Table table(String name, String... columns) {
        return new Table(JpaUtils.getTableNameForNativeQuery(name, em), columns);
    }

    private boolean has(Class<?> kind, String name) {
        for (Attribute<?, ?> attribute : em.getMetamodel().entity(kind).getAttributes()) {
            if (attribute.getName().equals(name)) {
                return true;
            }
        }
        return false;
    }

    /** What an attribute can have in a row that is written here. Longer values are kept elsewhere, with their digests. */
    static boolean fits(String value) {
        return value == null || value.length() <= 255;
    }

    void add(Object entity) {
        if (entity instanceof UserEntity) {
            add((UserEntity) entity);
        } else if (entity instanceof UserAttributeEntity) {
            add((UserAttributeEntity) entity);
        } else if (entity instanceof UserRequiredActionEntity) {
            add((UserRequiredActionEntity) entity);
        } else if (entity instanceof CredentialEntity) {
            add((CredentialEntity) entity);
        } else if (entity instanceof FederatedIdentityEntity) {
            add((FederatedIdentityEntity) entity);
        } else if (entity instanceof UserRoleMappingEntity) {
            add((UserRoleMappingEntity) entity);
        } else if (entity instanceof UserGroupMembershipEntity) {
            add((UserGroupMembershipEntity) entity);
        } else {
            throw new IllegalArgumentException(entity.getClass().getName());
        }
    }

    private void add(UserEntity u) {
        List<Object> row = new ArrayList<>(Arrays.asList(u.getId(), u.getUsername(), u.getFirstName(), u.getLastName(), u.getCreatedTimestamp(), u.getEmail(),
                u.isEnabled(), u.isEmailVerified(), u.getEmailConstraint(), u.getRealmId(), u.getNotBefore()));
        if (stamped) {
            row.add(Time.currentTimeMillis());
        }
        users.rows.add(row.toArray());
    }

    private void add(UserAttributeEntity a) {
        attributes.rows.add(new Object[] {a.getId(), a.getUser().getId(), a.getName(), a.getValue()});
    }

    private void add(UserRequiredActionEntity a) {
        actions.rows.add(new Object[] {a.getUser().getId(), a.getAction()});
    }

    private void add(CredentialEntity c) {
        List<Object> row = new ArrayList<>(Arrays.asList(c.getId(), c.getType(), c.getUserLabel(), c.getCreatedDate(), c.getUser().getId(), c.getSecretData(),
                c.getCredentialData(), c.getPriority()));
        if (versioned) {
            row.add(0);
        }
        credentials.rows.add(row.toArray());
    }

    private void add(FederatedIdentityEntity l) {
        links.rows.add(new Object[] {l.getUser().getId(), l.getRealmId(), l.getIdentityProvider(), l.getUserId(), l.getUserName()});
    }

    private void add(UserRoleMappingEntity m) {
        roles.rows.add(new Object[] {m.getUser().getId(), m.getRoleId()});
    }

    private void add(UserGroupMembershipEntity m) {
        groups.rows.add(new Object[] {m.getUser().getId(), m.getGroupId(), MEMBER});
    }

    /** The server's own type of the column has changed between versions; what it keeps has not. */
    private static final String MEMBER = "UNMANAGED";

    /** Writes what was added, in the transaction of the session. */
    void write() {
        em.unwrap(Session.class).doWork(this::write);
    }

    private void write(Connection connection) throws SQLException {
        boolean many = MANY.contains(connection.getMetaData().getDatabaseProductName().toLowerCase(Locale.ROOT));
        for (Table table : List.of(users, attributes, actions, credentials, links, roles, groups)) {
            if (!table.rows.isEmpty()) {
                table.write(connection, many);
            }
        }
    }
}
