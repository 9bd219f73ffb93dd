package io.github.stetl.keycloak.bulk;

import java.lang.reflect.Field;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;

import jakarta.persistence.EntityManager;
import jakarta.persistence.metamodel.Attribute;
import jakarta.persistence.metamodel.EntityType;

import org.jboss.logging.Logger;
import org.keycloak.models.GroupModel;
import org.keycloak.models.KeycloakSession;
import org.keycloak.models.KeycloakSessionFactory;
import org.keycloak.models.RealmModel;
import org.keycloak.models.UserModel;
import org.keycloak.models.jpa.UserAdapter;
import org.keycloak.models.jpa.entities.UserEntity;
import org.keycloak.provider.Provider;
import org.keycloak.provider.ProviderEventListener;

/**
 * Deletes accounts in a few statements for all of them, where the server takes some forty for each. Only on servers of which
 * every row is known, and only accounts on which nothing hangs but what a load makes: there is nothing to be tidied up after
 * them but rows and caches. Others are left to the server.
 */
final class Removal {

    private static final Logger LOG = Logger.getLogger(Removal.class);

    /** The rows that hang on an account; its own goes last. */
    private static final List<String> ROWS = List.of("CredentialEntity", "UserAttributeEntity", "UserRequiredActionEntity",
            "FederatedIdentityEntity", "UserRoleMappingEntity", "UserGroupMembershipEntity");

    /** Listeners of the server that, told of a removal, look for sessions, permissions and workflows, of which there are none. */
    private static final List<String> IDLE = List.of(
            "org.keycloak.models.sessions.infinispan.InfinispanUserSessionProviderFactory",
            "org.keycloak.authorization.store.AuthorizationStoreFactory",
            "org.keycloak.models.workflow.JpaWorkflowStateProviderFactory");

    /** The one that looks for organizations, of which most accounts have none. */
    private static final String ORGANIZATIONS = "org.keycloak.models.cache.infinispan.organization.InfinispanOrganizationProviderFactory";

    /** A class that providers cannot have at their build. */
    private static final String CACHE = "org.keycloak.models.cache.UserCache";

    private static volatile boolean unknown;

    private final KeycloakSession session;
    private final RealmModel realm;
    private final EntityManager em;
    private final List<ProviderEventListener> told = new ArrayList<>();
    private final List<ProviderEventListener> ofOrganizations = new ArrayList<>();
    private final Map<String, Boolean> organizations = new HashMap<>();

    private Removal(KeycloakSession session, RealmModel realm, EntityManager em, Collection<ProviderEventListener> listeners) {
        this.session = session;
        this.realm = realm;
        this.em = em;
        for (ProviderEventListener listener : listeners) {
            if (is(listener, ORGANIZATIONS)) {
                ofOrganizations.add(listener);
            } else if (IDLE.stream().noneMatch(host -> is(listener, host))) {
                told.add(listener);
            }
        }
    }

    /** Null on a server that may keep more of a user than is known here, or tell others of it in a way that is not. */
    static Removal on(KeycloakSession session, RealmModel realm, EntityManager em) {
        if (unknown || !Direct.known(session, em) || !Snapshot.storesSessions(session)) {
            return null;
        }
        try {
            return new Removal(session, realm, em, listeners(session.getKeycloakSessionFactory()));
        } catch (ReflectiveOperationException | RuntimeException e) {
            giveUp(e);
            return null;
        }
    }

    /** Leaves all accounts to the server, which lacks something that is used here. */
    static void giveUp(Throwable lack) {
        LOG.warnf("accounts are deleted by the server's own routine, which is slower: %s", lack);
        unknown = true;
    }

    static boolean givenUp() {
        return unknown;
    }

    private static boolean is(ProviderEventListener listener, String host) {
        String name = listener.getClass().getName();
        return name.equals(host) || name.startsWith(host + "$$Lambda");
    }

    @SuppressWarnings("unchecked")
    private static Collection<ProviderEventListener> listeners(KeycloakSessionFactory factory) throws ReflectiveOperationException {
        for (Class<?> type = factory.getClass(); type != null; type = type.getSuperclass()) {
            for (Field field : type.getDeclaredFields()) {
                if (field.getName().equals("listeners") && Collection.class.isAssignableFrom(field.getType())) {
                    field.setAccessible(true);
                    return (Collection<ProviderEventListener>) field.get(factory);
                }
            }
        }
        throw new NoSuchFieldException("the listeners of " + factory.getClass().getName());
    }

    /** Those of the ids on which something hangs that a {@link Snapshot} does not count, and that the server would delete. */
    Set<String> more(Collection<String> ids) {
        Set<String> found = new HashSet<>();
        for (EntityType<?> kind : em.getMetamodel().getEntities()) {
            for (Attribute<?, ?> attribute : kind.getAttributes()) {
                String name = attribute.getName();
                boolean names = kind.getName().startsWith("FederatedUser") && name.equals("userId") // of users of a federation
                        || kind.getName().equals("ResourceEntity") && name.equals("name") // of permissions of administrators
                        || name.equals("resourceId"); // of workflows
                if (names && attribute.getJavaType() == String.class) {
                    found.addAll(em.createQuery("select x." + name + " from " + kind.getName() + " x where x." + name + " in :ids", String.class)
                            .setParameter("ids", ids).getResultList());
                }
            }
        }
        return found;
    }

    /** Deletes accounts of the realm, which nobody else can write to in this transaction. */
    void delete(Collection<String> ids, Map<String, Snapshot.State> states) {
        List<UserModel> users = new ArrayList<>(ids.size());
        for (UserEntity entity : em.createQuery("select u from UserEntity u" + (told.stream().allMatch(Removal::ofServer) ? "" : " left join fetch u.attributes")
                + " where u.realmId = :realm and u.id in :ids", UserEntity.class).setParameter("realm", realm.getId()).setParameter("ids", ids).getResultList()) {
            users.add(new UserAdapter(session, realm, em, entity));
        }
        forget();
        for (UserModel user : users) {
            Going going = new Going(session, realm, user);
            told.forEach(listener -> listener.onEvent(going));
            if (states.get(user.getId()).groups.stream().anyMatch(this::organization)) {
                ofOrganizations.forEach(listener -> listener.onEvent(going));
            }
        }
        for (String kind : ROWS) {
            em.createQuery("delete from " + kind + " x where x.user.id in :ids").setParameter("ids", ids).executeUpdate();
        }
        em.createQuery("delete from UserEntity u where u.id in :ids").setParameter("ids", ids).executeUpdate();
        for (UserModel user : users) {
            Gone gone = new Gone(session, realm, user);
            told.forEach(listener -> listener.onEvent(gone));
        }
    }

    private static boolean ofServer(ProviderEventListener listener) {
        return listener.getClass().getName().startsWith("org.keycloak.");
    }

    /** What the server has cached of users of the realm: some of it goes by names, addresses and identities of others. */
    private void forget() {
        try {
            Class<? extends Provider> type = Class.forName(CACHE, false, Removal.class.getClassLoader()).asSubclass(Provider.class);
            Method evict = type.getMethod("evict", RealmModel.class);
            Provider cache = session.getProvider(type);
            if (cache != null) {
                evict.invoke(cache, realm);
            }
        } catch (InvocationTargetException e) {
            throw new IllegalStateException(e.getCause());
        } catch (ReflectiveOperationException e) {
            throw new NoClassDefFoundError(e.toString());
        }
    }

    private boolean organization(String groupId) {
        return organizations.computeIfAbsent(groupId, id -> {
            GroupModel group = session.groups().getGroupById(realm, id);
            return group == null || group.getType() != GroupModel.Type.REALM;
        });
    }

    private static final class Going extends Direct.Event implements UserModel.UserPreRemovedEvent {

        Going(KeycloakSession session, RealmModel realm, UserModel user) {
            super(session, realm, user);
        }
    }

    private static final class Gone extends Direct.Event implements UserModel.UserRemovedEvent {

        Gone(KeycloakSession session, RealmModel realm, UserModel user) {
            super(session, realm, user);
        }
    }
}
